package kling

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// WaitError reports a call that was not made, because its context would have ended
// before its turn.
type WaitError struct {
	// For is how long to wait before calling again.
	For time.Duration
}

func (e *WaitError) Error() string {
	return fmt.Sprintf("the next request to Kling may be made in %s, after this call's deadline; try again then", e.For.Round(time.Millisecond))
}

// pace spaces a client's requests and pauses them all when Kling asks for it.
type pace struct {
	limiter *rate.Limiter

	mu    sync.Mutex
	until time.Time // guarded by mu; the end of the pause
}

func newPace(perSecond float64) *pace {
	return &pace{limiter: rate.NewLimiter(rate.Limit(perSecond), 1)}
}

// wait returns when a request may be made. The pause comes first, so that calls that
// waited for its end go on one by one.
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

// pause stops all requests for a while. It never shortens a pause.
func (p *pace) pause(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(delay); until.After(p.until) {
		p.until = until
	}
}

func (p *pace) paused() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.until)
}

// sleep fails at once if the context ends before the delay.
func sleep(ctx context.Context, delay time.Duration) error {
	if err := ctx.Err(); err != nil || delay <= 0 {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < delay {
		return &WaitError{For: delay}
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
