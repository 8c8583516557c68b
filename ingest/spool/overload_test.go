package spool

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// TestOverloadIsNoFailure holds that a queue which has too much to do is not taken for
// one that is broken: deliveries are refused, nothing is spooled, the breaker stays
// closed.
func TestOverloadIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), nil)
		f.server.set(fmt.Errorf("enqueue: %w", tasks.ErrOverloaded), false)
		start := time.Now()
		for i := range 20 {
			if _, err := f.Enqueue(t.Context(), event(fmt.Sprint(i))); !errors.Is(err, tasks.ErrOverloaded) {
				t.Fatalf("event %d: %v", i, err)
			}
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("20 events were refused after %v, want at once", took)
		}
		if s := f.Status(); s.Open || s.Spool.Events > 0 {
			t.Errorf("breaker open %t, %d events spooled; want neither", s.Open, s.Spool.Events)
		}
		f.server.set(nil, false)
		f.mustEnqueue(t, event("after"))
	})
}

// TestDrainYieldsToDeliveries holds that the drain of a queue which has too much to do
// asks again in a while, and neither opens the breaker nor keeps at it.
func TestDrainYieldsToDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), nil)
		f.server.set(tasks.ErrOverloaded, false)
		mustPut(t, f.spool, events("e", 10)...)
		time.Sleep(10 * time.Second)
		f.server.mu.Lock()
		calls := f.server.calls
		f.server.mu.Unlock()
		if calls < 5 || calls > 110 {
			t.Errorf("asked %d times in 10 s, want about one in %v", calls, busyRest)
		}
		if s := f.Status(); s.Open || s.Spool.Events != 10 {
			t.Errorf("breaker open %t, %d events in the spool; want it closed, and 10", s.Open, s.Spool.Events)
		}
		f.server.set(nil, false)
		time.Sleep(2 * time.Second)
		if n := f.spool.Stats().Events; n != 0 {
			t.Errorf("%d events left", n)
		}
	})
}
