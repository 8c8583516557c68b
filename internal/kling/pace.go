package kling

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// WaitError is a call that was not made, since its context would have ended before
// its turn: the rate is used up, or Kling asked to be left alone.
type WaitError struct {
	// For is how long to wait before the call is made again.
	For time.Duration
}

// Error says how long to wait.
func (e *WaitError) Error() string {
	return fmt.Sprintf("not asked: the next request to Kling may go out in %s, past this call's deadline; try again then", e.For.Round(time.Millisecond))
}

// pace spaces a client's requests out, and holds all of them back while Kling
// wants to be left alone.
type pace struct {
	limiter *rate.Limiter

	mu    sync.Mutex
	until time.Time // guarded by mu; no request goes out before it
}

func newPace(perSecond float64) *pace {
	return &pace{limiter: rate.NewLimiter(rate.Limit(perSecond), 1)}
}

// wait returns when a request may go out. The pause comes before the turn, so that
// those who sat one out together go on one by one; a pause that begins meanwhile
// is sat out too.
func (p *pace) wait(ctx context.Context) error {
	for {
		if err := sleep(ctx, p.paused()); err != nil {
			return err
		}
		turn := p.limiter.Reserve()
		if err := sleep(ctx, turn.Delay()); err != nil {
			turn.Cancel()
			return err
		}
		if p.paused() <= 0 {
			return nil
		}
	}
}

// pause holds all requests back for a time from now. It never shortens a pause.
func (p *pace) pause(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.until) {
		p.until = until
	}
}

func (p *pace) paused() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.until)
}

// sleep waits for d, or fails at once where the context has less time than that.
func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return &WaitError{For: d}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
