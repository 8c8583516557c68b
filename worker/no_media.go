package worker

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// Look-ups of a completed job that lacks a file start at once. The wait between them
// doubles from noMediaWait: 10 look-ups in 9 hours. While Kling is unavailable they go on
// for a day.
const (
	noMediaAsks  = 10
	noMediaWait  = time.Minute
	noMediaLimit = 24 * time.Hour
)

// noMedia handles the result of recording an event that leaves a completed job without a
// file, or that brings the file. Without credentials the job is given up at once.
func (w *Worker) noMedia(ctx context.Context, job tasks.JobKey, owed store.Owed) error {
	switch {
	case owed.NoMedia != "" && !w.mayAsk(job):
		return w.buryNoMedia(ctx, job, owed.NoMedia, notAsked)
	case owed.FoundMedia:
		task, err := tasks.FindMedia(job)
		if err != nil {
			return err
		}
		return w.cfg.Store.EndDeadLetterOf(ctx, task.ID, w.cfg.Now())
	}
	return nil
}

// notAsked is why Kling was not asked.
const notAsked = "set KLINGAI_API_KEY, so that klinghook can ask Kling for it"

// mayAsk reports whether Kling can be asked about a job.
func (w *Worker) mayAsk(job tasks.JobKey) bool {
	return w.cfg.Lookups.Kling != nil && job.Platform == tasks.PlatformKling
}

// buryNoMedia writes the dead letter of a completed job that lacks a file.
func (w *Worker) buryNoMedia(ctx context.Context, job tasks.JobKey, reason, why string) error {
	task, err := tasks.FindMedia(job)
	if err != nil {
		return err
	}
	err = noMediaError(job, reason, why)
	letter := w.letter(task, store.Failure{Attempt: 1, At: w.cfg.Now(), Error: err.Error()})
	if err := w.cfg.Store.Bury(ctx, letter); err != nil {
		return err
	}
	if w.cfg.Observer != nil {
		w.cfg.Observer.Attempted(Attempt{Kind: task.Kind, Outcome: GivenUp, Number: 1, Last: 1, Err: err, Job: job})
		return nil
	}
	w.cfg.Log.Error("job is completed, but has no media", zap.Stringer("job_id", job), zap.Error(err))
	return nil
}

func noMediaError(job tasks.JobKey, reason, why string) error {
	return fmt.Errorf("job %s is completed, but has no media: %s; %s", job, reason, why)
}

// findMedia is the replay of a dead letter of buryNoMedia, which made the job due for
// look-ups again. Without credentials it fails again.
func (w *Worker) findMedia(ctx context.Context, payload []byte) error {
	job, err := tasks.DecodeMediaFind(payload)
	if err != nil {
		return err
	}
	reason, err := w.cfg.Store.NoMedia(ctx, job)
	if err != nil || reason == "" || w.mayAsk(job) {
		return err
	}
	return tasks.Permanent(noMediaError(job, reason, notAsked))
}

func aboutNoMedia(payload []byte) (job tasks.JobKey, eventID string) {
	job, _ = tasks.DecodeMediaFind(payload) // an unreadable payload is about nothing
	return job, ""
}

// concludeNoMedia notes a look-up of a completed job that lacks a file. found reports that
// Kling's answer, which is queued, has it.
func (q *inquirer) concludeNoMedia(ctx context.Context, lookup store.Lookup, outcome string, found bool) error {
	now := q.w.cfg.Now()
	q.w.metrics.lookups.WithLabelValues(outcome).Inc()
	lookup.Answer.Outcome = outcome
	// A requested look-up does not count.
	if found || lookup.Request != 0 || lookup.Asked+1 < noMediaAsks && now.Sub(lookup.HeardAt) < noMediaLimit {
		wait := min(noMediaWait, q.After) << min(lookup.Asked, noMediaAsks)
		return q.w.cfg.Store.LookedUp(ctx, lookup, now.Add(wait))
	}
	why := map[string]string{lookupFound: "Kling has none either", lookupUnknown: "Kling does not know the job", lookupUnclear: "Kling gave no usable answer"}[outcome]
	if err := q.w.buryNoMedia(ctx, lookup.Job, lookup.NoMedia, why); err != nil {
		return err
	}
	return q.w.cfg.Store.LookedUp(ctx, lookup, time.Time{})
}
