package load

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestWindow holds that no more are outstanding than there is room for.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := NewWindow(3)
		var let atomic.Int64
		ended := make(chan error, 1)
		go func() {
			for {
				if _, err := w.next(ctx); err != nil {
					ended <- err
					return
				}
				let.Add(1)
			}
		}()
		for _, tt := range []struct{ done, want int64 }{{0, 3}, {2, 5}, {1, 5}, {5, 8}} {
			w.Done(tt.done)
			synctest.Wait()
			if n := let.Load(); n != tt.want {
				t.Errorf("when %d are done, %d are let go, want %d", tt.done, n, tt.want)
			}
		}
		cancel()
		if err := <-ended; err == nil {
			t.Error("who waits is not told of the end")
		}
	})
}

func TestFlowSendsEachOnce(t *testing.T) {
	to := newReceiver(t)
	w := NewWindow(100)
	sent, err := Flow(t.Context(), to.URL+Path, Span{requests(t, 550, 50), 10, 30}, 4, w)
	if sent != 30 || err == nil || !strings.Contains(err.Error(), "all 30 deliveries are sent") {
		t.Errorf("Flow = %d, %v; want 30, and that there are no more", sent, err)
	}
	for job, n := range to.jobs {
		if n != 1 {
			t.Errorf("%s was sent %d times", job, n)
		}
	}
	if len(to.jobs) != 30 {
		t.Errorf("%d jobs were sent, want 30", len(to.jobs))
	}
}

// TestFlowEnds holds that being told to end is no failure, and that what was sent by
// then is counted.
func TestFlowEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var answered atomic.Int64
	to := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if answered.Add(1) == 5 {
			cancel()
		}
	}))
	defer to.Close()
	sent, err := Flow(ctx, to.URL, Span{requests(t, 550, 50), 0, 50}, 2, NewWindow(50))
	if err != nil || sent != answered.Load() {
		t.Errorf("Flow = %d, %v; %d were answered", sent, err, answered.Load())
	}
}

func TestFlowFailsWhenRefused(t *testing.T) {
	to := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "full", http.StatusServiceUnavailable) }))
	defer to.Close()
	if _, err := Flow(t.Context(), to.URL, Span{requests(t, 550, 5), 0, 5}, 1, NewWindow(5)); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("Flow = %v, want the status", err)
	}
}
