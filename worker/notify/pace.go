package notify

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pace hands out a destination's turns. Those who find none are told to come back one
// after the other: if all were to come back when the next turn is free, a thousand
// would come for each.
type pace struct {
	limiter *rate.Limiter
	// step is between two turns.
	step time.Duration

	mu sync.Mutex // guards last
	// last is when the last of those that were put off comes back.
	last time.Time
}

// newPace allows bursts of a second's worth.
func newPace(perSecond float64) *pace {
	return &pace{
		limiter: rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond))),
		step:    time.Duration(math.Ceil(float64(time.Second) / perSecond)),
	}
}

// turn returns zero when there is one, which is taken; else when to come back.
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
