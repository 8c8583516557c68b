package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// outcome is what a job must have come to.
type outcome struct {
	status, prompt, cause string
	progress              int // -1 where nothing was said of it
	contradicted          bool
	// files are the paths of the job's files by their names.
	files map[string]string
	// told are the kinds of events that the receiver must have been told of.
	told map[string]bool
}

// outcomeOf is the model: what the events of one job amount to, whatever the order
// in which they came. It is written from the documentation and not from the code.
func outcomeOf(events []says) outcome {
	o := outcome{progress: -1, files: map[string]string{}, told: map[string]bool{}}
	// By the sender's time; each event of a job has its own.
	events = slices.SortedFunc(slices.Values(events), func(a, b says) int { return a.at.Compare(b.at) })
	first := map[string]int{}
	for i, e := range events {
		if _, seen := first[e.kind]; !seen {
			first[e.kind] = i
		}
		o.progress = max(o.progress, e.progress)
		if e.prompt != "" {
			o.prompt = e.prompt
		}
		if e.cause != "" {
			o.cause = e.cause
		}
		maps.Copy(o.files, e.files) // a later link replaces an earlier one
		if e.kind == completed || e.kind == failed || e.kind == cancelled {
			o.told[e.kind] = true
		}
	}
	o.status = "created"
	if _, seen := first[processing]; seen {
		o.status = "processing"
	}
	failedAt, hasFailed := first[failed]
	cancelledAt, wasCancelled := first[cancelled]
	switch {
	case o.told[completed]:
		o.status, o.progress, o.cause = "completed", 100, ""
	case hasFailed && (!wasCancelled || failedAt < cancelledAt):
		o.status, o.contradicted = "failed", wasCancelled
	case wasCancelled:
		o.status, o.contradicted = "cancelled", hasFailed
	}
	return o
}

// String is the job's own part of the outcome in one line, to be compared.
func (o outcome) String() string {
	return fmt.Sprintf("%s, progress %d, prompt %q, error %q, contradicted %t", o.status, o.progress, o.prompt, o.cause, o.contradicted)
}

// jobsOf groups what was said by job.
func jobsOf(events []says) map[string][]says {
	jobs := map[string][]says{}
	for _, e := range events {
		jobs[e.job] = append(jobs[e.job], e)
	}
	return jobs
}

// some shows a few of many.
func some(list []string) string {
	const few = 10
	slices.Sort(list)
	if len(list) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:few], ", "), len(list)-few)
	}
	return strings.Join(list, ", ")
}
