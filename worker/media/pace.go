package media

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errStalled ends an exchange in which the server sends nothing, or too little.
var errStalled = errors.New("the server stalled")

// pace measures how fast a server is in one exchange. Its clock runs only while waiting
// for the server: a slow bucket is not the server's fault. One goroutine uses it.
type pace struct {
	cfg      Config
	watchdog *time.Timer
	began    time.Time     // start of the current wait
	waited   time.Duration // in the whole exchange
	// The current window of the body.
	windowWaited time.Duration
	windowBytes  int64
}

// newPace starts an exchange that end cancels when the server stalls.
func newPace(cfg Config, end context.CancelCauseFunc) *pace {
	return &pace{cfg: cfg, watchdog: time.AfterFunc(cfg.StallTimeout, func() {
		end(fmt.Errorf("%w: no data for %s", errStalled, cfg.StallTimeout))
	})}
}

// wait starts waiting for the server.
func (p *pace) wait() {
	p.began = time.Now()
	p.arrived()
}

// arrived restarts the stall timeout during a wait, because something came.
func (p *pace) arrived() { p.watchdog.Reset(p.cfg.StallTimeout) }

// done ends a wait and returns how long it was.
func (p *pace) done() time.Duration {
	p.watchdog.Stop()
	took := time.Since(p.began)
	p.waited += took
	return took
}

// read notes n bytes of the body, and returns an error if a window ended with too few.
func (p *pace) read(n int) error {
	p.windowWaited += p.done()
	p.windowBytes += int64(n)
	if p.windowWaited < p.cfg.RateWindow {
		return nil
	}
	waited, got := p.windowWaited, p.windowBytes
	p.windowWaited, p.windowBytes = 0, 0
	// RateWindow, not waited: a short stall may prolong the last read of a window.
	if float64(got) < float64(p.cfg.MinRate)*p.cfg.RateWindow.Seconds() {
		return fmt.Errorf("%w: only %d bytes in %s", errStalled, got, waited.Round(time.Second))
	}
	return nil
}

// worthwhile reports whether the exchange brought new bytes at the minimum rate. It
// counts all windows: else a server could cut each exchange just before a window ends,
// and trickle forever.
func (p *pace) worthwhile(gained int64) bool {
	return gained > 0 && float64(gained) >= float64(p.cfg.MinRate)*p.waited.Seconds()
}
