package spool

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// idleRest is how long an empty spool is not looked at, unless it is woken.
	idleRest = time.Second
	// troubleRest is how long a disk that failed is left alone.
	troubleRest = time.Second
	// busyRest is how long a queue that has too much to do is.
	busyRest = 100 * time.Millisecond
	// lastDelete bounds the delete at the end of a process.
	lastDelete = 2 * time.Second
)

// drain hands the spool's records over, in order of arrival.
type drain struct {
	q       *Queue
	limiter *rate.Limiter
	// confirmed are records that the queue has and the spool has still.
	confirmed []uint64
	// began and handed are of the drain under way, until the spool is empty.
	began  time.Time
	handed int
	// idle says that there was nothing to do.
	idle bool
	// trouble says that the disk failed, which is logged once.
	trouble bool
	// busy says that the queue had too much to do: deliveries come first.
	busy bool
}

func newDrain(q *Queue) *drain {
	// Timers are no finer than about a millisecond: a burst makes up for it.
	burst := max(1, int(q.cfg.DrainRate/50))
	return &drain{q: q, limiter: rate.NewLimiter(rate.Limit(q.cfg.DrainRate), burst)}
}

func (d *drain) run(ctx context.Context) {
	if n := d.q.cfg.Spool.Stats().Events; n > 0 {
		d.q.cfg.Log.Info("spool holds events of an earlier process", zap.Int("events", n))
	}
	for ctx.Err() == nil {
		d.rest(ctx, d.step(ctx))
	}
	d.q.probes.Store(false)
	// What was handed over need not be handed over again by the next process.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastDelete)
	defer cancel()
	d.note(last, d.forget(last))
}

// step hands over one batch, if there is one and the breaker permits, and returns
// how long to rest.
func (d *drain) step(ctx context.Context) time.Duration {
	d.idle = d.q.cfg.Spool.Stats().Events == 0
	// A drain that cannot read finds out nothing about the queue.
	d.q.probes.Store(!d.idle && !d.trouble)
	if d.idle {
		d.finish()
		return idleRest
	}
	if wait := d.q.breaker.Wait(); wait > 0 {
		return wait
	}
	if d.began.IsZero() {
		d.began = time.Now()
	}
	d.busy = false
	records, err := d.q.cfg.Spool.Read(ctx, 0, d.q.cfg.DrainBatch)
	if err == nil {
		err = d.hand(ctx, records)
	}
	confirmed := len(d.confirmed)
	err = errors.Join(err, d.forget(ctx))
	d.note(ctx, err)
	if err != nil && confirmed == 0 {
		return troubleRest
	}
	if d.busy {
		return busyRest
	}
	return 0
}

// hand enqueues the records until one is not taken. It returns the disk's error
// only: the queue's is the breaker's.
func (d *drain) hand(ctx context.Context, records []Record) error {
	for _, r := range records {
		if aside, err := setAside(ctx, d.q.cfg.Spool, d.q.cfg.Log, r); err != nil {
			return err
		} else if aside {
			continue
		}
		if !d.enqueue(ctx, r) {
			return nil
		}
	}
	return nil
}

// enqueue reports whether the queue has the record now.
func (d *drain) enqueue(ctx context.Context, r Record) bool {
	if d.limiter.Wait(ctx) != nil {
		return false // this process ends
	}
	attempt, ok := d.q.breaker.Try()
	if !ok {
		return false
	}
	_, err := d.q.call(ctx, r.Task)
	switch {
	case err == nil:
		attempt.Done(nil)
		d.confirmed = append(d.confirmed, r.Seq)
		return true
	case ctx.Err() != nil:
		attempt.Done(context.Canceled) // this process ends
	case errors.Is(err, tasks.ErrOverloaded):
		attempt.Done(context.Canceled)
		d.busy = true
	default:
		// No second failure is waited for: nothing is lost by resting.
		attempt.Fail(err)
	}
	return false
}

// forget deletes what the queue has confirmed. It lets go of it even where the disk
// refuses: so does the spool.
func (d *drain) forget(ctx context.Context) error {
	if len(d.confirmed) == 0 {
		return nil
	}
	err := d.q.cfg.Spool.Delete(ctx, d.confirmed...)
	if ctx.Err() != nil {
		return err // there is one more try at the end
	}
	d.handed += len(d.confirmed)
	d.q.metrics.drained.Add(float64(len(d.confirmed)))
	d.confirmed = d.confirmed[:0]
	return err
}

// setAside sets a record aside if it cannot be handed over: it is damaged, or of a
// kind that this release does not know.
func setAside(ctx context.Context, spool *Spool, log *zap.Logger, r Record) (aside bool, err error) {
	why := r.Damaged
	if why == nil {
		_, why = tasks.PolicyOf(r.Task.Kind)
	}
	if why == nil {
		return false, nil
	}
	if err := spool.SetAside(ctx, r.Seq); err != nil {
		return false, err
	}
	log.Error("spooled record set aside: it cannot be handed over; it stays in the spool file",
		zap.Uint64("record", r.Seq), zap.String("task_id", r.Task.ID), zap.Error(why))
	return true, nil
}

// finish ends a drain: the spool is empty.
func (d *drain) finish() {
	if d.began.IsZero() {
		return
	}
	d.q.cfg.Log.Info("spool drained", zap.Int("events", d.handed), zap.Duration("duration", time.Since(d.began)))
	d.began, d.handed = time.Time{}, 0
}

// note logs the disk's first error, and that it works again.
func (d *drain) note(ctx context.Context, err error) {
	switch {
	case err != nil && ctx.Err() == nil && !d.trouble:
		d.q.cfg.Log.Error("spool file cannot be read or written", zap.Error(err))
		d.trouble = true
	case err == nil && d.trouble:
		d.q.cfg.Log.Info("spool file can be read and written again")
		d.trouble = false
	}
}

// rest waits; whoever is idle can be woken.
func (d *drain) rest(ctx context.Context, rest time.Duration) {
	if rest == 0 {
		return
	}
	var wake chan struct{}
	if d.idle {
		wake = d.q.wake
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}
