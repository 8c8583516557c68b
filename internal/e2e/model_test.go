package e2e

import (
	"fmt"
	"maps"
	"slices"
)

// outcome is the expected state of a job.
type outcome struct {
	status, prompt, cause string
	progress              int // -1 if no event had any
	milliseconds          int
	contradicted          bool
	files                 map[string]string // the files' paths by name
	notified              map[string]bool   // the kinds of notifications
}

// outcomeOf is the model: the outcome of one job's events, in whatever order they
// came. It is written from the documentation, not from the code.
func outcomeOf(events []says) outcome {
	o := outcome{progress: -1, files: map[string]string{}, notified: map[string]bool{}}
	// Each event of a job has its own time.
	events = slices.SortedFunc(slices.Values(events), func(a, b says) int { return a.at.Compare(b.at) })
	first := map[string]int{}
	for i, e := range events {
		if _, seen := first[e.kind]; !seen {
			first[e.kind] = i
		}
		o.progress, o.milliseconds = max(o.progress, e.progress), max(o.milliseconds, e.milliseconds)
		if e.prompt != "" {
			o.prompt = e.prompt
		}
		if e.cause != "" {
			o.cause = e.cause
		}
		maps.Copy(o.files, e.files) // a later link replaces an earlier one
		if e.kind == completed || e.kind == failed || e.kind == cancelled {
			o.notified[e.kind] = true
		}
	}
	o.status = "created"
	if _, seen := first[processing]; seen {
		o.status = "processing"
	}
	failedAt, hasFailed := first[failed]
	cancelledAt, wasCancelled := first[cancelled]
	switch {
	case o.notified[completed]:
		o.status, o.progress, o.cause = "completed", 100, ""
	case hasFailed && (!wasCancelled || failedAt < cancelledAt):
		o.status, o.contradicted = "failed", wasCancelled
	case wasCancelled:
		o.status, o.contradicted = "cancelled", hasFailed
	}
	return o
}

// String returns the job's row as one line, to compare.
func (o outcome) String() string {
	return fmt.Sprintf("%s, progress %d, %d ms, prompt %q, error %q, contradicted %t", o.status, o.progress, o.milliseconds, o.prompt, o.cause, o.contradicted)
}

// outcomesOf returns the outcome of every job.
func outcomesOf(events []says) map[string]outcome {
	jobs, outcomes := map[string][]says{}, map[string]outcome{}
	for _, e := range events {
		jobs[e.job] = append(jobs[e.job], e)
	}
	for job, events := range jobs {
		outcomes[job] = outcomeOf(events)
	}
	return outcomes
}
