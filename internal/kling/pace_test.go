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

// newPacedClient returns a client of two requests a second, whose requests note
// when they went out, from its making.
func newPacedClient(t *testing.T, answer transport) (c *Client, wentOut func() []time.Duration) {
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

func seconds(s ...float64) []time.Duration {
	var d []time.Duration
	for _, s := range s {
		d = append(d, time.Duration(s*float64(time.Second)))
	}
	return d
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wentOut := newPacedClient(t, processing)
		var calls sync.WaitGroup
		for range 5 {
			calls.Go(func() {
				if _, err := c.Jobs(t.Context(), "1"); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if diff := cmp.Diff(seconds(0, .5, 1, 1.5, 2), wentOut()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// TestPause holds that what Kling asks of one call all calls of the client heed,
// and that they do not go out at once when it is over.
func TestPause(t *testing.T) {
	in10s := func() string { return time.Now().Add(10 * time.Second).UTC().Format(http.TimeFormat) }
	tests := []struct {
		name    string
		status  int
		after   func() string // Retry-After; nil for none
		body    string
		verdict Verdict
		want    []time.Duration
	}{
		{"429 with seconds", 429, func() string { return "10" }, `{"code":1302}`, Wait, seconds(0, 10, 10.5, 11)},
		{"429 with a date", 429, in10s, ``, Wait, seconds(0, 10, 10.5, 11)},
		{"429 without a wait", 429, nil, `{"code":1303}`, Wait, seconds(0, 1, 1.5, 2)},
		{"too fast, in a 200", 200, nil, `{"code":1302}`, Wait, seconds(0, 1, 1.5, 2)},
		{"503 with seconds", 503, func() string { return "10" }, ``, Wait, seconds(0, 10, 10.5, 11)},
		{"503 without a wait", 503, nil, `{"code":5001}`, Retry, seconds(0, .5, 1, 1.5)},
		{"no credit", 429, func() string { return "10" }, `{"code":1102}`, GiveUp, seconds(0, .5, 1, 1.5)},
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
				if _, err := c.Jobs(t.Context(), "1"); VerdictOf(err) != tt.verdict {
					t.Errorf("verdict %q of %v, want %q", VerdictOf(err), err, tt.verdict)
				}
				var calls sync.WaitGroup
				for range 3 {
					calls.Go(func() {
						if _, err := c.Jobs(t.Context(), "1"); err != nil {
							t.Error(err)
						}
					})
				}
				calls.Wait()
				if diff := cmp.Diff(tt.want, wentOut()); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

// TestPauseReachesThoseWhoWait holds that a call which had its turn coming sits out
// a pause that begins meanwhile, and that a shorter one does not end a longer one.
func TestPauseReachesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wentOut := newPacedClient(t, processing)
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() {
				if _, err := c.Jobs(t.Context(), "1"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		c.pace.pause(7 * time.Second)
		c.pace.pause(time.Second)
		calls.Wait()
		if diff := cmp.Diff(seconds(0, 7), wentOut()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wentOut := newPacedClient(t, processing)
		c.pace.pause(time.Minute)

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Jobs(ctx, "1")
		var early *WaitError
		if !errors.As(err, &early) || VerdictOf(err) != Wait || WaitOf(err) != time.Minute || time.Since(start) != 0 {
			t.Errorf("after %s: err = %v, want to be told at once to wait a minute", time.Since(start), err)
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

// TestTurnsAreGivenBack holds that calls which did not wait for their turn do not
// put off the others.
func TestTurnsAreGivenBack(t *testing.T) {
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
