package notify

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// turns limits the rate of one destination. Callers without a turn get successive times,
// so that they do not all come back for the same one.
type turns struct {
	limiter *rate.Limiter
	step    time.Duration // between two turns

	mu   sync.Mutex
	last time.Time // guarded by mu; the latest time given out
}

// newTurns allows bursts of one second's turns.
func newTurns(perSecond float64) *turns {
	return &turns{
		limiter: rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond))),
		step:    time.Duration(math.Ceil(float64(time.Second) / perSecond)),
	}
}

// take takes a turn and returns 0, or returns how long to wait before asking again.
func (t *turns) take(now time.Time) time.Duration {
	if t.limiter.AllowN(now, 1) {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.Before(now) {
		t.last = now
	}
	t.last = t.last.Add(t.step)
	return t.last.Sub(now)
}
