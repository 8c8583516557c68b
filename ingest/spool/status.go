package spool

import (
	"context"
	"fmt"
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
	s.Open, s.Since, s.Why = q.breaker.State()
	if q.cfg.Spool != nil {
		s.Spool = q.cfg.Spool.Stats()
		s.OldestAge = s.Spool.Age(q.cfg.Spool.now())
	}
	return s
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
	case s.Spool.Bytes > s.Spool.MaxBytes-s.Spool.MaxBytes/100:
		return fmt.Errorf("%w: %d events, %d bytes, the oldest %v old", ErrFull, s.Spool.Events, s.Spool.Bytes, s.OldestAge)
	case s.Spool.WriteErr != nil && q.cfg.Spool.now().Sub(s.Spool.WriteErrAt) < writeErrFresh:
		return fmt.Errorf("write to the spool: %w", s.Spool.WriteErr)
	default:
		return nil
	}
}
