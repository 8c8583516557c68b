package spool

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("down")

// mustTry returns an attempt, which there must be.
func mustTry(t *testing.T, b *Breaker) Attempt {
	t.Helper()
	a, ok := b.Try()
	if !ok {
		t.Fatal("no call is let through")
	}
	return a
}

func mustNotTry(t *testing.T, b *Breaker) {
	t.Helper()
	if _, ok := b.Try(); ok {
		t.Fatal("a call is let through")
	}
}

func isOpen(b *Breaker) bool {
	open, _, _ := b.State()
	return open
}

func TestBreakerOpensAfterFailuresInARow(t *testing.T) {
	tests := []struct {
		name    string
		results []error
		want    bool
	}{
		{"two", []error{errDown, errDown}, false},
		{"three", []error{errDown, errDown, errDown}, true},
		{"a success between", []error{errDown, errDown, nil, errDown, errDown}, false},
		{"callers that gave up", []error{errDown, errDown, fmt.Errorf("enqueue: %w", context.Canceled)}, false},
		{"timeouts", []error{context.DeadlineExceeded, context.DeadlineExceeded, context.DeadlineExceeded}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBreaker(BreakerConfig{})
			for _, err := range tt.results {
				mustTry(t, b).Done(err)
			}
			if got := isOpen(b); got != tt.want {
				t.Errorf("open is %t, want %t", got, tt.want)
			}
		})
	}
}

func TestBreakerProbesEverLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(BreakerConfig{Failures: 1})
		mustTry(t, b).Done(errDown)
		for _, want := range []time.Duration{100, 200, 400, 800, 1600, 2000, 2000} {
			want *= time.Millisecond
			if got := b.Wait(); got != want {
				t.Fatalf("waits for %v, want %v", got, want)
			}
			time.Sleep(want - time.Nanosecond)
			mustNotTry(t, b)
			time.Sleep(time.Nanosecond)
			probe := mustTry(t, b)
			mustNotTry(t, b) // one at a time
			probe.Done(errDown)
		}
		time.Sleep(b.Wait())
		mustTry(t, b).Done(nil)
		if isOpen(b) || b.Wait() != 0 {
			t.Error("open after a probe that succeeded")
		}
		mustTry(t, b).Fail(errDown)
		if got := b.Wait(); got != 100*time.Millisecond {
			t.Errorf("opened again, it waits for %v", got)
		}
	})
}

func TestBreakerIgnoresLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(BreakerConfig{Failures: 1})
		late, later := mustTry(t, b), mustTry(t, b)
		mustTry(t, b).Done(errDown)
		late.Done(nil)
		if !isOpen(b) {
			t.Error("closed by a call from before it opened")
		}
		time.Sleep(b.Wait())
		mustTry(t, b).Done(nil)
		later.Fail(errDown)
		if isOpen(b) {
			t.Error("opened by a call from before it closed")
		}
	})
}

func TestBreakerProbeGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(BreakerConfig{Failures: 1})
		mustTry(t, b).Done(errDown)
		time.Sleep(b.Wait())
		mustTry(t, b).Done(context.Canceled)
		mustTry(t, b).Done(nil) // the next may probe at once
		if isOpen(b) {
			t.Error("open after a probe that succeeded")
		}
	})
}

func TestBreakerHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		b := NewBreaker(BreakerConfig{
			OnOpen:  func(why error) { log = append(log, "open: "+why.Error()) },
			OnClose: func(after time.Duration) { log = append(log, "closed after "+after.String()) },
		})
		running := mustTry(t, b)
		b.Hold(errors.New("full"))
		b.Hold(errors.New("fuller"))
		running.Done(nil)
		time.Sleep(time.Hour)
		mustNotTry(t, b)
		b.Release()
		if _, _, why := b.State(); why == nil || why.Error() != "fuller" {
			t.Errorf("open because of %v", why)
		}

		probe := mustTry(t, b)
		b.Hold(errors.New("full"))
		probe.Done(nil)
		if !isOpen(b) {
			t.Error("a probe closed a breaker that is held")
		}
		b.Release()
		mustTry(t, b).Done(nil)
		b.Release() // of what is not held
		want := []string{"open: full", "closed after 1h0m0s"}
		if fmt.Sprint(log) != fmt.Sprint(want) {
			t.Errorf("told of %q, want %q", log, want)
		}
	})
}
