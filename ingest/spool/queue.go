package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/tasks"
)

// Inner is the queue that is tried first and drained to. [tasks.Client] is one. It
// must return when its context ends, and recognise a task that it was given before.
// [tasks.ErrOverloaded] is its word for having too much to do, which is no failure.
type Inner interface {
	Enqueue(ctx context.Context, t tasks.Task) (duplicate bool, err error)
}

// QueueConfig is what a Queue is made of.
type QueueConfig struct {
	// Inner is required.
	Inner Inner
	// Spool takes what Inner does not; it stays the caller's to close, after Run has
	// returned. Nil means none: what Inner does not take is refused.
	Spool *Spool
	// CallTimeout bounds each call to Inner; default [CallTimeout]. A negative one leaves
	// that to Inner, which is cheaper where it can do so.
	CallTimeout time.Duration
	// Breaker is the circuit breaker's; its OnOpen and OnClose are the Queue's own.
	Breaker BreakerConfig
	// DrainRate is how many spooled events a second are handed over, at most;
	// default 1,000.
	DrainRate float64
	// DrainBatch is how many of them are deleted in one transaction; default 100.
	DrainBatch int
	// Healthy is asked every HealthInterval, and given as long to answer. Its error
	// keeps the breaker open. [MemoryProbe] makes one; nil means that it is not asked.
	// Without a Spool it is also what closes the breaker when no deliveries come.
	Healthy func(context.Context) error
	// HealthInterval is by default 1 s.
	HealthInterval time.Duration
	// Log is required.
	Log *zap.Logger
	// Metrics is where the Queue registers its metrics. Required.
	Metrics prometheus.Registerer
}

// Queue enqueues to Inner, and to the spool while Inner cannot be reached. It is
// safe for concurrent use.
type Queue struct {
	cfg     QueueConfig
	breaker *Breaker
	metrics metrics
	// wake tells the drain that there is something to do.
	wake chan struct{}
	// probes says that the drain finds out when Inner is back, so that no delivery
	// has to.
	probes atomic.Bool
	// spooled counts what was spooled since the breaker last closed.
	spooled atomic.Int64
}

// CallTimeout is how long a delivery waits for the queue before it is spooled.
const CallTimeout = 250 * time.Millisecond

// NewQueue returns a Queue for cfg. Run drains its spool.
func NewQueue(cfg QueueConfig) *Queue {
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = CallTimeout
	}
	if cfg.DrainRate == 0 {
		cfg.DrainRate = 1000
	}
	if cfg.DrainBatch == 0 {
		cfg.DrainBatch = 100
	}
	if cfg.HealthInterval == 0 {
		cfg.HealthInterval = time.Second
	}
	q := &Queue{cfg: cfg, wake: make(chan struct{}, 1)}
	cfg.Breaker.OnOpen = func(why error) {
		cfg.Log.Warn("circuit breaker opened: the queue is left alone", zap.Bool("spool", cfg.Spool != nil), zap.Error(why))
	}
	cfg.Breaker.OnClose = func(after time.Duration) {
		cfg.Log.Info("circuit breaker closed: the queue answers", zap.Duration("duration", after), zap.Int64("spooled", q.spooled.Swap(0)))
	}
	q.breaker = NewBreaker(cfg.Breaker)
	q.metrics = newQueueMetrics(cfg.Metrics, q)
	return q
}

// Enqueue returns once the task is kept, by the queue or on the disk. duplicate is
// only known of what the queue took.
//
// An error means that it may not be kept: the queue could not be reached, and the
// spool was full, could not be written, did not answer before ctx ended, or is not
// there. As with [tasks.Client], enqueuing again is always safe.
//
// [tasks.ErrOverloaded] is passed on, and such a task not spooled: the disk is slower
// than the queue, so that what is too much for the one would soon be too much for the
// other, and each sync would take from the machine what it lacks.
func (q *Queue) Enqueue(ctx context.Context, t tasks.Task) (duplicate bool, err error) {
	// What the queue will never take must not stand in the spool.
	if _, err := tasks.PolicyOf(t.Kind); err != nil {
		return false, fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	if attempt, ok := q.try(); ok {
		duplicate, err = q.call(ctx, t)
		if err == nil {
			attempt.Done(nil)
			return duplicate, nil
		}
		if errors.Is(err, tasks.ErrOverloaded) {
			attempt.Done(context.Canceled)
			return false, err
		}
		attempt.Done(errors.Join(err, canceled(ctx)))
	} else {
		_, since, why := q.breaker.State()
		err = &leftAloneError{since: since, why: why}
	}
	if q.cfg.Spool == nil {
		return false, fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	if putErr := q.put(ctx, t); putErr != nil {
		return false, fmt.Errorf("spool %s: %w; it was spooled because of: %w", t.ID, putErr, err)
	}
	return false, nil
}

// try asks the breaker. With a drain that probes, deliveries leave it to that.
func (q *Queue) try() (Attempt, bool) {
	if q.probes.Load() {
		if open, _, _ := q.breaker.State(); open {
			return Attempt{}, false
		}
	}
	return q.breaker.Try()
}

// canceled returns context.Canceled where that is how ctx ended: a call that its
// caller gave up may end in whatever error.
func canceled(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return nil
}

// call is one bounded call to the inner queue.
func (q *Queue) call(ctx context.Context, t tasks.Task) (duplicate bool, err error) {
	if q.cfg.CallTimeout > 0 {
		limited, cancel := context.WithTimeout(ctx, q.cfg.CallTimeout)
		defer cancel()
		ctx = limited
	}
	return q.cfg.Inner.Enqueue(ctx, t)
}

func (q *Queue) put(ctx context.Context, t tasks.Task) error {
	err := q.cfg.Spool.Put(ctx, t)
	q.metrics.put(outcomeOf(err))
	if err == nil {
		q.spooled.Add(1)
	}
	select {
	case q.wake <- struct{}{}:
	default: // it is awake
	}
	return err
}

// Run drains the spool, what an earlier process left in it first, and watches
// Healthy, until ctx ends. It must run once, for as long as Enqueue is in use. What
// is left stays in the spool.
func (q *Queue) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	if q.cfg.Healthy != nil {
		wg.Go(func() { q.watch(ctx) })
	}
	if q.cfg.Spool != nil {
		newDrain(q).run(ctx)
	}
	<-ctx.Done()
}

// watch keeps the breaker open while the queue is not healthy.
func (q *Queue) watch(ctx context.Context) {
	defer q.breaker.Release()
	tick := time.NewTicker(q.cfg.HealthInterval)
	defer tick.Stop()
	for {
		q.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (q *Queue) look(ctx context.Context) {
	probe, cancel := context.WithTimeout(ctx, q.cfg.HealthInterval)
	defer cancel()
	err := q.cfg.Healthy(probe)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		q.breaker.Hold(err)
		return
	}
	q.breaker.Release()
	if open, _, _ := q.breaker.State(); open && !q.probes.Load() {
		// Nothing is there to probe with, and deliveries may be kept away by readiness
		// checks for as long as the breaker is open.
		if attempt, ok := q.breaker.Try(); ok {
			attempt.Done(nil)
		}
	}
}

// leftAloneError is why a call was not made.
type leftAloneError struct {
	since time.Time
	why   error
}

func (e *leftAloneError) Error() string {
	return fmt.Sprintf("the queue is left alone since %s: %v", e.since.UTC().Format(time.RFC3339), e.why)
}

func (e *leftAloneError) Unwrap() error { return e.why }
