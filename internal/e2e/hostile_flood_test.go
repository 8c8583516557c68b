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

	"github.com/klinghook/klinghook/internal/testenv"
)

const (
	// forgedEvery makes 100,000 forged deliveries a minute, realEvery 100 real ones
	// a second.
	forgedEvery = time.Minute / 100_000
	realEvery   = 10 * time.Millisecond
	roundLength = 6 * time.Second
	// jitter is what a busy machine sometimes adds to the slowest of a hundred
	// answers. Real deliveries that wait for forged ones would take longer.
	jitter = 50 * time.Millisecond
)

// TestForgedFloodDoesNotDelayRealDeliveries sends 100,000 forged deliveries a minute.
// The 99th percentile of real ones must at most double; up to three tries, because the
// machine may be busy.
func TestForgedFloodDoesNotDelayRealDeliveries(t *testing.T) {
	w := newFleet(t, "")
	base := w.start(ingestProgram).url()
	began := time.Now()
	for try := 1; ; try++ {
		usually := percentile99(t, base)
		ctx, stop := context.WithCancel(t.Context())
		forged := make(chan int64)
		go func() { forged <- forge(ctx, t, base) }()
		inFlood := percentile99(t, base)
		stop()
		sent := <-forged
		t.Logf("99th percentiles of real deliveries: usually %s; in a flood of %d %s", usually, sent, inFlood)
		if want := int64(roundLength / forgedEvery); sent < want*9/10 {
			t.Errorf("only %d forged deliveries were answered, want %d", sent, want)
		}
		most := max(2*usually, usually+jitter)
		if inFlood <= most {
			break
		}
		if try == 3 {
			t.Fatalf("in the flood the 99th percentile is %s, want at most %s", inFlood, most)
		}
	}
	rejections, err := asynq.NewInspectorFromRedisClient(w.rdb).GetQueueInfo("rejections")
	testenv.NoError(t, err)
	// Three a second, and a burst of ten.
	if most := 3*int(time.Since(began)/time.Second) + 20; rejections.Size > most {
		t.Errorf("%d forged deliveries were enqueued, want at most %d", rejections.Size, most)
	}
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

// forge sends forged deliveries at their rate until ctx ends, and returns how many
// were answered.
func forge(ctx context.Context, t *testing.T, base string) int64 {
	const senders = 20
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}, Timeout: patience}
	defer client.CloseIdleConnections()
	e := seed(completed, 1, "vid_forged", `,"video_url":"https://cdn.example/`+strings.Repeat("a", 1000)+`"`)
	began := time.Now()
	var forged atomic.Int64
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
	return forged.Load()
}
