package media

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errStalled is the cause of an exchange that was ended because nothing came, or
// too little.
var errStalled = errors.New("the server stalled")

// pace watches how fast a server is in one exchange. Its clock runs only while
// the server is waited for: a bucket that takes its time is no fault of the
// server. One goroutine uses it.
type pace struct {
	stall    time.Duration
	watchdog *time.Timer
	minRate  float64 // in bytes per second; none when negative
	window   time.Duration

	began  time.Time     // the present wait
	waited time.Duration // in the whole exchange
	// What the present window has of the body. One that ran out begins the next.
	windowWaited time.Duration
	windowBytes  int64
}

// newPace returns the pace of an exchange that begins now and that end ends.
func newPace(cfg Config, end context.CancelCauseFunc) *pace {
	return &pace{
		stall: cfg.StallTimeout,
		watchdog: time.AfterFunc(cfg.StallTimeout, func() {
			end(fmt.Errorf("%w: nothing came for %s", errStalled, cfg.StallTimeout))
		}),
		minRate: float64(cfg.MinRate),
		window:  cfg.RateWindow,
	}
}

// begin begins a wait for the server.
func (p *pace) begin() {
	p.began = time.Now()
	p.arrived()
}

// arrived notes during a wait that something came, and more is to come.
func (p *pace) arrived() { p.watchdog.Reset(p.stall) }

// end ends a wait and returns how long it was.
func (p *pace) end() time.Duration {
	p.watchdog.Stop()
	took := time.Since(p.began)
	p.waited += took
	return took
}

// endRead ends a wait for bytes of the body, of which n came.
func (p *pace) endRead(n int) {
	p.windowWaited += p.end()
	p.windowBytes += int64(n)
}

// trickles returns an error when a window of the body ran out with too little.
func (p *pace) trickles() error {
	if p.windowWaited < p.window {
		return nil
	}
	waited, got := p.windowWaited, p.windowBytes
	p.windowWaited, p.windowBytes = 0, 0
	// Not by waited, which ends with a read: what a stall adds to a window, within
	// its limit, calls for no more bytes.
	if float64(got) < p.minRate*p.window.Seconds() {
		return fmt.Errorf("%w: %d bytes came in %s", errStalled, got, waited.Round(time.Second))
	}
	return nil
}

// worthwhile reports whether the exchange brought new bytes at the minimum rate.
// All of it counts, not the last window: else a server could cut each exchange
// just before a window runs out, and trickle for ever.
func (p *pace) worthwhile(gained int64) bool {
	return gained > 0 && float64(gained) >= p.minRate*p.waited.Seconds()
}
