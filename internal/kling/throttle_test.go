package kling

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newPacedClient returns a client that makes two requests a second, and a function
// that returns the times of its requests.
func newPacedClient(t *testing.T, answer transport) (c *API, wentOut func() []time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var times []time.Duration
	start := time.Now()
	c, err := New(Config{APIKey: testKey, Rate: 2, HTTPClient: &http.Client{
		Transport: transport(func(r *http.Request) (int, http.Header, string) {
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Since(start))
			return answer(r)
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return times
	}
}

func processing(*http.Request) (int, http.Header, string) {
	return 200, nil, `{"code":0,"data":[{"id":"1","status":"processing"}]}`
}

// callsAtOnce starts calls that must all succeed, and returns a function that waits for
// them.
func callsAtOnce(t *testing.T, c *API, n int) (wait func()) {
	var calls sync.WaitGroup
	for range n {
		calls.Go(func() {
			if _, err := c.Jobs(t.Context(), "1"); err != nil {
				t.Error(err)
			}
		})
	}
	return calls.Wait
}

func seconds(s ...float64) []time.Duration {
	var d []time.Duration
	for _, s := range s {
		d = append(d, time.Duration(s*float64(time.Second)))
	}
	return d
}

// TestPauseStopsAllCalls also checks that the calls are spaced after the pause.
func TestPauseStopsAllCalls(t *testing.T) {
	in10s := func() string { return time.Now().Add(10 * time.Second).UTC().Format(http.TimeFormat) }
	tests := []struct {
		name   string
		status int
		after  func() string // Retry-After; nil for none
		body   string
		wait   time.Duration
		want   []time.Duration
	}{
		{"429 with seconds", 429, func() string { return "10" }, `{"code":1302}`, 10 * time.Second, seconds(0, 10, 10.5, 11)},
		{"429 with a date", 429, in10s, ``, 10 * time.Second, seconds(0, 10, 10.5, 11)},
		{"429 without a wait", 429, nil, `{"code":1303}`, time.Second, seconds(0, 1, 1.5, 2)},
		{"too fast, in a 200", 200, nil, `{"code":1302}`, time.Second, seconds(0, 1, 1.5, 2)},
		{"503 with seconds", 503, func() string { return "10" }, ``, 10 * time.Second, seconds(0, 10, 10.5, 11)},
		{"503 without a wait", 503, nil, `{"code":5001}`, 0, seconds(0, .5, 1, 1.5)},
		{"no credit", 429, func() string { return "10" }, `{"code":1102}`, 0, seconds(0, .5, 1, 1.5)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refused := false
				c, wentOut := newPacedClient(t, func(r *http.Request) (int, http.Header, string) {
					if refused {
						return processing(r)
					}
					refused = true
					header := http.Header{}
					if tt.after != nil {
						header.Set("Retry-After", tt.after())
					}
					return tt.status, header, tt.body
				})
				if _, err := c.Jobs(t.Context(), "1"); WaitOf(err) != tt.wait {
					t.Errorf("WaitOf(%v) = %s, want %s", err, WaitOf(err), tt.wait)
				}
				callsAtOnce(t, c, 3)()
				if diff := cmp.Diff(tt.want, wentOut()); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

// TestPauseDelaysWaitingCalls also checks that a shorter pause does not end a longer one.
func TestPauseDelaysWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wentOut := newPacedClient(t, processing)
		wait := callsAtOnce(t, c, 2)
		synctest.Wait()
		c.throttle.pause(7 * time.Second)
		c.throttle.pause(time.Second)
		wait()
		if diff := cmp.Diff(seconds(0, 7), wentOut()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wentOut := newPacedClient(t, processing)
		c.throttle.pause(time.Minute)

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Jobs(ctx, "1")
		var early *WaitError
		if !errors.As(err, &early) || WaitOf(err) != time.Minute || time.Since(start) != 0 {
			t.Errorf("after %s: err = %v, want a WaitError of a minute at once", time.Since(start), err)
		}

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		if _, err = c.Jobs(ctx, "1"); !errors.Is(err, context.Canceled) || time.Since(start) != 5*time.Second {
			t.Errorf("after %s: err = %v, want the cancellation", time.Since(start), err)
		}
		if len(wentOut()) > 0 {
			t.Errorf("requests at %v", wentOut())
		}
	})
}

func TestExpiredCallsDoNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wentOut := newPacedClient(t, processing)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err := c.Jobs(ctx, "1")
			var early *WaitError
			if first := len(wentOut()) == 1 && err == nil; !first && !errors.As(err, &early) {
				t.Errorf("err = %v, want a WaitError", err)
			}
			cancel()
		}
		if _, err := c.Jobs(t.Context(), "1"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(seconds(0, .5), wentOut()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}
