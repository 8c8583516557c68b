package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// settle handles an answer about a job, or Kling's error about it. It returns only errors
// of the store and the queue.
func (q *inquirer) settle(ctx context.Context, lookup store.Lookup, job *kling.Answer, err error) error {
	q.failures = 0
	switch {
	case err == nil:
		if err := q.enqueueAnswer(ctx, *job); err != nil {
			return err
		}
		if job.ID != lookup.Job.ID {
			if err := q.w.cfg.Store.FoundByAnotherName(ctx, lookup, job.ID, string(job.Kind)); err != nil {
				return err
			}
			return q.conclude(ctx, lookup, lookupFound, true) // a row with events stays
		}
		lookup.API = string(job.Kind)
		if lookup.NoMedia != "" {
			return q.concludeNoMedia(ctx, lookup, lookupFound, job.Missing == "" && job.Status == tasks.StatusCompleted)
		}
		return q.conclude(ctx, lookup, lookupFound, job.Status.Terminal())
	case errors.Is(err, kling.ErrNotFound), errors.Is(err, kling.ErrInvalid):
		return q.conclude(ctx, lookup, lookupUnknown, false)
	}
	// Kling may know the job, but its answer is unreadable or refused.
	lookup.Answer.Error = err.Error()
	q.w.cfg.Log.Warn("look-up got no usable answer", zap.Stringer("job_id", lookup.Job), zap.Error(err))
	return q.conclude(ctx, lookup, lookupUnclear, false)
}

// conclude notes a look-up and when the next one is due. An unfinished job that has been
// silent for GiveUp is lost; its last look-up is due at that time. A possible test
// callback is never lost.
func (q *inquirer) conclude(ctx context.Context, lookup store.Lookup, outcome string, settled bool) error {
	if lookup.NoMedia != "" {
		return q.concludeNoMedia(ctx, lookup, outcome, false)
	}
	now := q.w.cfg.Now()
	q.w.metrics.lookups.WithLabelValues(outcome).Inc()
	lookup.Answer.Outcome = outcome
	next := q.After
	if lookup.Request == 0 {
		next = q.wait(lookup.Asked + 1)
	}
	left := q.GiveUp - now.Sub(lookup.HeardAt)
	switch {
	case !lookup.Known || settled || lookup.Ended:
	case lookup.TestCallback && (outcome == lookupUnknown || left <= 0):
		if err := q.noteTest(ctx, lookup, now); err != nil {
			return err
		}
	case left > 0:
		next = min(next, left)
	default:
		if err := q.lose(ctx, lookup, now); err != nil {
			return err
		}
	}
	return q.w.cfg.Store.LookedUp(ctx, lookup, now.Add(next))
}

// wait returns the wait before a job's next look-up, after asked look-ups without news.
func (q *inquirer) wait(asked int) time.Duration {
	wait := q.After
	for ; asked > 0 && wait < lookupCap; asked-- {
		wait *= 2
	}
	return min(wait, max(lookupCap, q.After))
}

// enqueueAnswer enqueues Kling's answer as an event, like a webhook. The same answer
// twice is the same event.
func (q *inquirer) enqueueAnswer(ctx context.Context, job kling.Answer) error {
	event, err := LookupEvent(job, q.w.cfg.Now())
	if err != nil {
		// For example, its status is unknown.
		q.w.cfg.Log.Warn("look-up answer cannot be read", zap.String("job_id", job.ID), zap.Error(err))
		return nil
	}
	return q.w.enqueue(ctx)(tasks.RecordEvent(event))
}

// lose gives up on a job. Later events still update it.
func (q *inquirer) lose(ctx context.Context, lookup store.Lookup, now time.Time) error {
	q.w.metrics.lookups.WithLabelValues(lookupLost).Inc()
	q.w.cfg.Log.Warn("job is lost: no news for too long", zap.Stringer("job_id", lookup.Job), zap.Time("heard_at", lookup.HeardAt))
	return q.noteStatus(ctx, lookup, tasks.StatusLost, now)
}

// noteTest notes that Kling does not know the job of a possible test callback.
func (q *inquirer) noteTest(ctx context.Context, lookup store.Lookup, now time.Time) error {
	q.w.cfg.Log.Info("test callback received: Kling does not know its job", zap.Stringer("job_id", lookup.Job))
	return q.noteStatus(ctx, lookup, tasks.StatusTest, now)
}

// noteStatus enqueues an event that gives a job one of klinghook's own statuses.
func (q *inquirer) noteStatus(ctx context.Context, lookup store.Lookup, status tasks.Status, now time.Time) error {
	body, err := json.Marshal(map[string]any{"id": lookup.Job.ID, "status": string(status), "update_time": now.UnixMilli()})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return q.w.enqueue(ctx)(tasks.RecordEvent(tasks.Event{
		// One event for each time that the job goes silent.
		ID:     tasks.EventID(tasks.SourceLookup, fmt.Sprintf("%s %s %d", lookup.Job.ID, status, lookup.HeardAt.UnixMilli()), nil),
		Source: tasks.SourceLookup, Type: status.EventType(), Job: lookup.Job, ReceivedAt: now.UTC(), Body: body,
	}))
}

// LookupEvent returns Kling's answer to a look-up as an event received at a time. It
// fails if the answer has no job or no known status.
func LookupEvent(job kling.Answer, at time.Time) (tasks.Event, error) {
	identity, err := source.Lookup().Identify(http.Header{}, job.Raw)
	if err != nil {
		return tasks.Event{}, fmt.Errorf("read answer about job %s: %w", job.ID, err)
	}
	return tasks.Event{
		ID:     tasks.EventID(tasks.SourceLookup, "", job.Raw),
		Source: tasks.SourceLookup, Type: identity.Type, Job: tasks.KlingJob(identity.JobID), ReceivedAt: at.UTC(), Body: job.Raw,
	}, nil
}
