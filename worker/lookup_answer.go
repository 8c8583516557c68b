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

// settle takes an answer in, or an error that is about the job. Its own error is that
// of a part of klinghook.
func (q *inquirer) settle(ctx context.Context, l store.Lookup, job *kling.Job, err error) error {
	q.failures = 0
	switch {
	case err == nil:
		if err := q.take(ctx, *job); err != nil {
			return err
		}
		if job.ID != l.JobID {
			q.w.metrics.lookups.WithLabelValues(lookupFound).Inc()
			return q.w.cfg.Store.FoundByAnotherName(ctx, l, job.ID, string(job.Kind))
		}
		l.API = string(job.Kind)
		return q.conclude(ctx, l, lookupFound, job.Status.Terminal())
	case errors.Is(err, kling.ErrNotFound), errors.Is(err, kling.ErrInvalid):
		return q.conclude(ctx, l, lookupUnknown, false)
	}
	// Kling may know it, and cannot be understood or may not tell.
	q.w.cfg.Log.Warn("look-up without a clear answer", zap.String("job_id", l.JobID), zap.Error(err))
	return q.conclude(ctx, l, lookupUnclear, false)
}

// conclude notes a look-up. A job that is not settled by it, and of which nothing
// was heard for too long, is lost; it is asked about a last time when that is so.
func (q *inquirer) conclude(ctx context.Context, l store.Lookup, outcome string, settled bool) error {
	now := q.w.cfg.Now()
	q.w.metrics.lookups.WithLabelValues(outcome).Inc()
	next := q.After
	if l.Request == 0 {
		next = q.wait(l.Asked + 1)
	}
	left := q.GiveUp - now.Sub(l.HeardAt)
	switch {
	case !l.Known || settled:
	case left > 0:
		next = min(next, left)
	default:
		q.w.metrics.lookups.WithLabelValues(lookupLost).Inc()
		if err := q.lose(ctx, l, now); err != nil {
			return err
		}
	}
	return q.w.cfg.Store.LookedUp(ctx, l, now.Add(next))
}

// wait is how long a job is left alone after it was asked about this often without
// news.
func (q *inquirer) wait(asked int) time.Duration {
	wait := q.After
	for ; asked > 0 && wait < lookupCap; asked-- {
		wait *= 2
	}
	return min(wait, max(lookupCap, q.After))
}

// take puts what Kling answered on the way that a webhook goes. An answer that says
// what the one before it said is the same event.
func (q *inquirer) take(ctx context.Context, job kling.Job) error {
	ev, err := LookupEvent(job, q.w.cfg.Now())
	if err != nil {
		// Kling has another word for how the job is than those that are known.
		q.w.cfg.Log.Warn("answer of a look-up cannot be used", zap.String("job_id", job.ID), zap.Error(err))
		return nil
	}
	return q.w.enqueue(ctx)(tasks.RecordEvent(ev))
}

// lose gives a job up. Whatever is heard of it later counts.
func (q *inquirer) lose(ctx context.Context, l store.Lookup, now time.Time) error {
	body, err := json.Marshal(map[string]any{"id": l.JobID, "status": string(tasks.StatusLost), "update_time": now.UnixMilli()})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	q.w.cfg.Log.Warn("job is lost: nothing was heard of it for too long", zap.String("job_id", l.JobID), zap.Time("heard_at", l.HeardAt))
	return q.w.enqueue(ctx)(tasks.RecordEvent(tasks.Event{
		// Once for each time that the job went silent.
		ID:     tasks.EventID(tasks.SourceLookup, fmt.Sprintf("%s lost %d", l.JobID, l.HeardAt.UnixMilli()), nil),
		Source: tasks.SourceLookup, Type: tasks.TypeLost, JobID: l.JobID, ReceivedAt: now.UTC(), Body: body,
	}))
}

// LookupEvent returns the event that Kling's answer to a look-up makes, at the time
// when it came. Its error says that the answer tells nothing of the job.
func LookupEvent(job kling.Job, at time.Time) (tasks.Event, error) {
	identity, err := source.Lookup().Identify(http.Header{}, job.Raw)
	if err != nil {
		return tasks.Event{}, fmt.Errorf("read answer about job %s: %w", job.ID, err)
	}
	return tasks.Event{
		ID:     tasks.EventID(tasks.SourceLookup, "", job.Raw),
		Source: tasks.SourceLookup, Type: identity.Type, JobID: identity.JobID, ReceivedAt: at.UTC(), Body: job.Raw,
	}, nil
}
