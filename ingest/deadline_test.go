package ingest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type key struct{}

// TestDeadline holds a deadline to what a context of the standard library's does,
// whether somebody waits for it or not.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		defer cancel()
		start := time.Now()
		for _, waits := range []bool{false, true} {
			ctx, release := withDeadline(parent, time.Now().Add(time.Second))
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != time.Second {
				t.Errorf("ends in %s, %t; want a second", time.Until(at), ok)
			}
			if ctx.Value(key{}) != "value" {
				t.Error("the parent's values are lost")
			}
			cancel() // the sender goes away
			if err := ctx.Err(); err != nil {
				t.Errorf("ended with its parent: %v", err)
			}
			if waits {
				child, cancelChild := context.WithTimeout(ctx, time.Hour)
				<-ctx.Done()
				<-child.Done()
				cancelChild()
			} else {
				time.Sleep(time.Second) // of the bubble's time
			}
			if time.Since(start) != time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("after %s: %v", time.Since(start), ctx.Err())
			}
			release()
			start = time.Now()
		}
	})
}

func TestReleasedDeadline(t *testing.T) {
	ctx, release := withDeadline(t.Context(), time.Now().Add(time.Hour))
	done := ctx.Done()
	release()
	<-done
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", ctx.Err())
	}
}
