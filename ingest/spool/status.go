package spool

import (
	"context"
	"fmt"
	"math"
	"time"
)

// writeErrFresh is how long a failed write counts against readiness: when no
// delivery comes, nothing finds out that the disk works again.
const writeErrFresh = 10 * time.Second

// Status is how a Queue is doing.
type Status struct {
	// Open is whether the circuit breaker is, Since when, and Why.
	Open  bool
	Since time.Time
	Why   error
	// Spool is what the spool holds; zero when there is none.
	Spool Stats
	// OldestAge is how long the oldest event has been in the spool.
	OldestAge time.Duration
}

// Status returns how the queue is doing, from memory.
func (q *Queue) Status() Status {
	var s Status
	if q.cfg.Spool != nil {
		s = statusOf(q.cfg.Spool)
	}
	s.Open, s.Since, s.Why = q.breaker.State()
	return s
}

// statusOf is the part of a Status that tells of the spool.
func statusOf(spool *Spool) Status {
	stats := spool.Stats()
	return Status{Spool: stats, OldestAge: stats.Age(spool.now())}
}

// refuses returns why the spool would not take an event at the given time.
func (s Status) refuses(now time.Time) error {
	switch {
	case s.Spool.Bytes > s.Spool.MaxBytes-s.Spool.MaxBytes/100:
		return fmt.Errorf("%w: %d events, %d bytes, the oldest %v old", ErrFull, s.Spool.Events, s.Spool.Bytes, s.OldestAge)
	case s.Spool.WriteErr != nil && now.Sub(s.Spool.WriteErrAt) < writeErrFresh:
		return fmt.Errorf("write to the spool: %w", s.Spool.WriteErr)
	}
	return nil
}

// Detail is the status as /readyz tells it.
func (s Status) Detail() map[string]any {
	return map[string]any{"spool": map[string]any{
		"events": s.Spool.Events, "bytes": s.Spool.Bytes, "oldest_age_seconds": math.Round(s.OldestAge.Seconds()),
	}}
}

// Check returns why an event that came now would be refused, or soon would be, and
// nil when it would be kept, be it in the spool. It asks nobody. A spool counts as
// full when less than a hundredth of it is left.
func (q *Queue) Check(context.Context) error {
	s := q.Status()
	switch {
	case !s.Open:
		return nil
	case q.cfg.Spool == nil:
		return &leftAloneError{since: s.Since, why: s.Why}
	default:
		return s.refuses(q.cfg.Spool.now())
	}
}
