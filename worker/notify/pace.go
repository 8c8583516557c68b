package notify

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pace limits the rate of one destination. Callers without a turn get times one
// after the other: if all came back at the next turn, a thousand would come for each.
type pace struct {
	limiter *rate.Limiter
	step    time.Duration // between two turns

	mu   sync.Mutex
	last time.Time // guarded by mu; the latest time given out
}

// newPace allows bursts of a second's worth.
func newPace(perSecond float64) *pace {
	return &pace{
		limiter: rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond))),
		step:    time.Duration(math.Ceil(float64(time.Second) / perSecond)),
	}
}

// turn takes a turn and returns 0, or returns when to ask again.
func (p *pace) turn(now time.Time) time.Duration {
	if p.limiter.AllowN(now, 1) {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.Before(now) {
		p.last = now
	}
	p.last = p.last.Add(p.step)
	return p.last.Sub(now)
}
