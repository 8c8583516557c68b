package e2e

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
)

const (
	// forgedEvery makes 100,000 forged deliveries a minute, realEvery 100 real ones
	// a second.
	forgedEvery = time.Minute / 100_000
	realEvery   = 10 * time.Millisecond
	// floodRounds is how often the flood and quiet take turns, roundLength each.
	floodRounds = 3
	roundLength = 2 * time.Second
	// jitter is what a busy machine sometimes adds to the slowest of a hundred
	// answers. Real deliveries that wait for forged ones would take longer.
	jitter = 50 * time.Millisecond
)

// TestForgedFloodDoesNotDelayRealDeliveries sends 100,000 forged deliveries a minute.
// The 99th percentile of real ones must at most double. Both are measured in turns, and
// the medians of the rounds are compared; up to three times, because the machine may be
// busy.
func TestForgedFloodDoesNotDelayRealDeliveries(t *testing.T) {
	const tries = 3
	w := newFleet(t, "")
	base := w.start(ingestProgram).url()
	var forged atomic.Int64
	began := time.Now()
	for try := range tries {
		usually, inFlood := flood(t, base, &forged)
		most := max(2*usually, usually+jitter)
		if inFlood <= most {
			break
		}
		if try == tries-1 {
			t.Errorf("in the flood the 99th percentile is %s, want at most %s", inFlood, most)
		}
	}
	rejections, err := asynq.NewInspectorFromRedisClient(w.rdb).GetQueueInfo("rejections")
	noError(t, err)
	// Three a second, and a burst of ten.
	if most := 3*int(time.Since(began)/time.Second) + 20; rejections.Size > most {
		t.Errorf("of %d forged deliveries %d were enqueued, want at most %d", forged.Load(), rejections.Size, most)
	}
}

// flood alternates quiet and flood, and returns the median 99th percentiles of real
// deliveries.
func flood(t *testing.T, base string, forged *atomic.Int64) (usually, inFlood time.Duration) {
	t.Helper()
	var quiet, flooded []time.Duration
	before := forged.Load()
	for range floodRounds {
		quiet = append(quiet, percentile99(t, base))
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); forge(ctx, t, base, forged) }()
		flooded = append(flooded, percentile99(t, base))
		stop()
		<-over
	}
	slices.Sort(quiet)
	slices.Sort(flooded)
	sent := forged.Load() - before
	t.Logf("99th percentiles of real deliveries: usually %s; in a flood of %d %s", quiet, sent, flooded)
	if want := int64(floodRounds * roundLength / forgedEvery); sent < want*9/10 {
		t.Errorf("only %d forged deliveries were answered, want %d", sent, want)
	}
	return quiet[floodRounds/2], flooded[floodRounds/2]
}

// percentile99 sends real deliveries at their rate and returns the 99th percentile of
// the times to answer.
func percentile99(t *testing.T, base string) time.Duration {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: patience}
	defer client.CloseIdleConnections()
	took := make([]time.Duration, roundLength/realEvery)
	var wg sync.WaitGroup
	tick := time.NewTicker(realEvery)
	defer tick.Stop()
	for i := range took {
		<-tick.C
		e := seed(processing, i%60, "vid_"+rand.Text(), "")
		wg.Go(func() {
			began := time.Now()
			status, _, err := e.post(t.Context(), client, base, "")
			took[i] = time.Since(began)
			if err != nil || status != http.StatusOK {
				t.Errorf("a real delivery was answered %d, %v", status, err)
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took[len(took)*99/100]
}

// forge sends forged deliveries at their rate until ctx ends.
func forge(ctx context.Context, t *testing.T, base string, forged *atomic.Int64) {
	const senders = 20
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}, Timeout: patience}
	defer client.CloseIdleConnections()
	e := seed(completed, 1, "vid_forged", `,"video_url":"https://cdn.example/`+strings.Repeat("a", 1000)+`"`)
	began := time.Now()
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for n := sender; ctx.Err() == nil; n += senders {
				// Each has its time, so that late ones catch up.
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(began.Add(time.Duration(n) * forgedEvery))):
				}
				status, _, err := e.post(context.WithoutCancel(ctx), client, base, " forged")
				if err != nil || status != http.StatusUnauthorized {
					t.Errorf("a forged delivery was answered %d, %v", status, err)
					return
				}
				forged.Add(1)
			}
		})
	}
	wg.Wait()
}
