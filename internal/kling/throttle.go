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

// throttle spaces a client's requests and pauses them all when Kling asks for it.
type throttle struct {
	limiter *rate.Limiter

	mu    sync.Mutex
	until time.Time // guarded by mu; the end of the pause
}

func newThrottle(perSecond float64) *throttle {
	return &throttle{limiter: rate.NewLimiter(rate.Limit(perSecond), 1)}
}

// wait returns when a request may be made. It waits for the end of a pause first, so that
// calls continue one by one after it.
func (t *throttle) wait(ctx context.Context) error {
	for {
		if err := sleep(ctx, t.paused()); err != nil {
			return err
		}
		turn := t.limiter.Reserve()
		if err := sleep(ctx, turn.Delay()); err != nil {
			turn.Cancel()
			return err
		}
		if t.paused() <= 0 {
			return nil
		}
	}
}

// pause stops all requests for a while. It never shortens a pause.
func (t *throttle) pause(delay time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until := time.Now().Add(delay); until.After(t.until) {
		t.until = until
	}
}

func (t *throttle) paused() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(t.until)
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
