package spool

import (
	"context"
	"errors"
	"sync"
	"time"
)

// BreakerConfig is what a Breaker is made of.
type BreakerConfig struct {
	// Failures is how many calls in a row must fail before the breaker opens;
	// default 3. One alone may be a connection that broke.
	Failures int
	// MinWait and MaxWait bound the time between two probes, which doubles from one
	// to the next; default 100 ms and 2 s.
	MinWait, MaxWait time.Duration
	// OnOpen and OnClose are told of each change: why it opened, and how long it was
	// open. They may be nil, and must not call the breaker.
	OnOpen  func(why error)
	OnClose func(after time.Duration)
}

// Breaker decides whether a call is worth a try. Closed, it lets all through; open,
// none but a probe now and then, one at a time, whose success closes it. It is safe
// for concurrent use.
type Breaker struct {
	cfg BreakerConfig

	mu       sync.Mutex // guards all below
	epoch    uint64     // counts the changes: an attempt from before one decides nothing
	failures int        // in a row, while closed
	open     bool
	held     bool // probes are not let through either
	probing  bool
	why      error
	since    time.Time // when it opened
	wait     time.Duration
	retryAt  time.Time
}

// NewBreaker returns a closed Breaker.
func NewBreaker(cfg BreakerConfig) *Breaker {
	if cfg.Failures == 0 {
		cfg.Failures = 3
	}
	if cfg.MinWait == 0 {
		cfg.MinWait = 100 * time.Millisecond
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = 2 * time.Second
	}
	return &Breaker{cfg: cfg}
}

// Attempt is a call that the Breaker let through. Exactly one of its methods must
// be called, once.
type Attempt struct {
	b     *Breaker
	epoch uint64
	probe bool
}

// Try asks whether to make a call.
func (b *Breaker) Try() (a Attempt, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return Attempt{b: b, epoch: b.epoch}, true
	}
	if b.held || b.probing || time.Now().Before(b.retryAt) {
		return Attempt{}, false
	}
	b.probing = true
	return Attempt{b: b, epoch: b.epoch, probe: true}, true
}

// Done tells how the call ended. context.Canceled says nothing of the other side:
// it was the caller who gave up.
func (a Attempt) Done(err error) {
	b := a.b
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case a.epoch != b.epoch:
	case err == nil:
		b.failures, b.probing = 0, false
		if b.open && !b.held {
			b.shut()
		}
	case errors.Is(err, context.Canceled):
		b.probing = b.probing && !a.probe
	case a.probe:
		b.backOff(err)
	default:
		if b.failures++; b.failures >= b.cfg.Failures {
			b.trip(err)
		}
	}
}

// Fail tells that the call failed, in a way that needs no confirmation.
func (a Attempt) Fail(err error) {
	b := a.b
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case a.epoch != b.epoch:
	case a.probe:
		b.backOff(err)
	default:
		b.trip(err)
	}
}

// Hold opens the breaker and keeps it open, without probes, until Release.
func (b *Breaker) Hold(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		b.trip(why)
	}
	b.held, b.why = true, why
}

// Release ends Hold: the next attempt is a probe.
func (b *Breaker) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held {
		b.held, b.wait, b.retryAt = false, b.cfg.MinWait, time.Now()
	}
}

// Wait returns how long it is until Try may let a call through; zero when it does
// now. While the breaker is held or another's probe is under way, that is a guess.
func (b *Breaker) Wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return 0
	case b.held || b.probing:
		return b.cfg.MinWait
	default:
		return max(time.Until(b.retryAt), 0)
	}
}

// State returns whether the breaker is open, since when, and why.
func (b *Breaker) State() (open bool, since time.Time, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open, b.since, b.why
}

// trip opens the closed breaker.
func (b *Breaker) trip(why error) {
	b.open, b.why, b.since = true, why, time.Now()
	b.failures, b.probing = 0, false
	b.epoch++
	b.wait, b.retryAt = b.cfg.MinWait, b.since.Add(b.cfg.MinWait)
	if b.cfg.OnOpen != nil {
		b.cfg.OnOpen(why)
	}
}

// backOff follows a probe that failed.
func (b *Breaker) backOff(why error) {
	b.probing, b.why = false, why
	b.wait = min(2*b.wait, b.cfg.MaxWait)
	b.retryAt = time.Now().Add(b.wait)
}

// shut closes the open breaker.
func (b *Breaker) shut() {
	after := time.Since(b.since)
	b.open, b.why, b.since = false, nil, time.Time{}
	b.epoch++
	if b.cfg.OnClose != nil {
		b.cfg.OnClose(after)
	}
}
