package spool

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/tasks"
)

// JournalConfig is what a Journal is made of.
type JournalConfig struct {
	// Inner is the queue that may forget. Required.
	Inner Inner
	// Spool takes every task; it stays the caller's to close, after Run has
	// returned. Required.
	Spool *Spool
	// Kept reports, by ID, which of the tasks the spool may let go of: what they are
	// about is kept elsewhere by now. It is asked for at most JournalBatch at a time.
	// Required.
	Kept func(ctx context.Context, taskIDs []string) (map[string]bool, error)
	// Interval is how often Kept is asked; default 1 s.
	Interval time.Duration
	// Resend is how often tasks that are still in the spool are enqueued again;
	// default 1 min. Inner recognises those that it has.
	Resend time.Duration
	// Log is required.
	Log *zap.Logger
	// Metrics is where the Journal registers its metrics. Required.
	Metrics prometheus.Registerer
}

const (
	// JournalBatch is how many tasks a Journal looks at together.
	JournalBatch = 500
	// journalShare bounds how much of the time a Journal looks through its spool: it
	// rests this many times as long as it took.
	journalShare = 10
)

// Journal enqueues to a queue that is memory: each task goes into the spool first,
// and leaves it only when what it is about is kept elsewhere. Whatever becomes of
// the queue in between, the next Journal on the same spool enqueues it again. It is
// safe for concurrent use.
type Journal struct {
	cfg     JournalConfig
	metrics metrics
	trouble bool // whether the last look through the spool failed; Run's
}

// NewJournal returns a Journal for cfg. Run empties its spool.
func NewJournal(cfg JournalConfig) *Journal {
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	if cfg.Resend == 0 {
		cfg.Resend = time.Minute
	}
	j := &Journal{cfg: cfg}
	j.metrics = newSpoolMetrics(cfg.Metrics, j.Status)
	return j
}

// Enqueue returns once the task is on the disk and has been given to the queue,
// which may have refused it: Run gives it again. duplicate is the queue's word.
//
// Its errors are those of [Spool.Put]. As with [tasks.Client], enqueuing again is
// always safe.
func (j *Journal) Enqueue(ctx context.Context, t tasks.Task) (duplicate bool, err error) {
	if _, err := tasks.PolicyOf(t.Kind); err != nil {
		return false, fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	err = j.cfg.Spool.Put(ctx, t)
	j.metrics.put(outcomeOf(err))
	if err != nil {
		return false, fmt.Errorf("spool %s: %w", t.ID, err)
	}
	duplicate, err = j.cfg.Inner.Enqueue(ctx, t)
	if err != nil {
		j.cfg.Log.Warn("event is kept but not in the queue yet", zap.String("task_id", t.ID), zap.Error(err))
	}
	return duplicate && err == nil, nil
}

// Run enqueues what an earlier process left in the spool, and then empties the
// spool as its tasks come to be kept elsewhere, until ctx ends. It must run once,
// for as long as Enqueue is in use. What is left stays in the spool.
func (j *Journal) Run(ctx context.Context) {
	if n := j.cfg.Spool.Stats().Events; n > 0 {
		j.cfg.Log.Info("spool holds events of an earlier process", zap.Int("events", n))
	}
	var resent time.Time // when all that was there had been enqueued again
	for ctx.Err() == nil {
		began := time.Now()
		resend := began.Sub(resent) >= j.cfg.Resend
		err := j.look(ctx, resend)
		j.note(ctx, err)
		if err == nil && resend {
			resent = began
		}
		timer := time.NewTimer(max(j.cfg.Interval, journalShare*time.Since(began)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	// What is kept by now need not be enqueued by the next process.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastDelete)
	defer cancel()
	j.note(last, j.look(last, false))
}

// look goes through the spool once, in order of arrival. Where resend is set, what
// has to stay is enqueued again.
func (j *Journal) look(ctx context.Context, resend bool) error {
	for after := uint64(0); ; {
		records, err := j.cfg.Spool.Read(ctx, after, JournalBatch)
		if err != nil || len(records) == 0 {
			return err
		}
		after = records[len(records)-1].Seq
		left, err := j.letGo(ctx, records)
		if err != nil {
			return err
		}
		if !resend {
			continue
		}
		for _, r := range left {
			if _, err := j.cfg.Inner.Enqueue(ctx, r.Task); err != nil {
				return err
			}
		}
	}
}

// letGo deletes those of the records whose tasks are kept elsewhere, sets aside
// what cannot be read, and returns the others.
func (j *Journal) letGo(ctx context.Context, records []Record) (left []Record, err error) {
	good := make([]Record, 0, len(records))
	ids := make([]string, 0, len(records))
	for _, r := range records {
		if aside, err := setAside(ctx, j.cfg.Spool, j.cfg.Log, r); err != nil {
			return nil, err
		} else if !aside {
			good = append(good, r)
			ids = append(ids, r.Task.ID)
		}
	}
	kept, err := j.cfg.Kept(ctx, ids)
	if err != nil {
		return nil, err
	}
	var gone []uint64
	for _, r := range good {
		if kept[r.Task.ID] {
			gone = append(gone, r.Seq)
		} else {
			left = append(left, r)
		}
	}
	if len(gone) == 0 {
		return left, nil
	}
	j.metrics.drained.Add(float64(len(gone)))
	return left, j.cfg.Spool.Delete(ctx, gone...)
}

// note logs the first failure in a row, and its end.
func (j *Journal) note(ctx context.Context, err error) {
	switch {
	case err != nil && !j.trouble && ctx.Err() == nil:
		j.cfg.Log.Error("spool cannot be emptied; its events stay", zap.Error(err))
		j.trouble = true
	case err == nil && j.trouble:
		j.cfg.Log.Info("spool is emptied again")
		j.trouble = false
	}
}

// Status returns how the spool is doing, from memory; there is no breaker.
func (j *Journal) Status() Status { return statusOf(j.cfg.Spool) }

// Check returns why an event that came now would be refused, or soon would be. It
// asks nobody.
func (j *Journal) Check(context.Context) error { return j.Status().refuses(j.cfg.Spool.now()) }
