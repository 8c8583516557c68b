package ingest

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at a time, whose timer is only made when somebody
// waits for that: most deliveries are answered before anybody does.
type deadline struct {
	context.Context // what it is derived from
	at              time.Time

	mu     sync.Mutex // guards what follows
	timed  context.Context
	cancel context.CancelFunc
}

// withDeadline returns a context that ends at a time and not with its parent, with the
// function that gives back what it has taken.
func withDeadline(parent context.Context, at time.Time) (ctx *deadline, release func()) {
	d := &deadline{Context: context.WithoutCancel(parent), at: at}
	return d, d.release
}

// Deadline implements [context.Context].
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

// Done implements [context.Context].
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.cancel = context.WithDeadline(d.Context, d.at)
	}
	return d.timed.Done()
}

// Err implements [context.Context].
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed != nil {
		return d.timed.Err()
	}
	if time.Now().Before(d.at) {
		return nil
	}
	return context.DeadlineExceeded
}

func (d *deadline) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		d.cancel()
	}
}
