package e2e

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"sync"
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
	percentile99 := func() time.Duration {
		took := w.flood(base, realEvery, "", http.StatusOK, func() event { return seed(processing, 1, "vid_"+rand.Text(), "") })
		return took[len(took)*99/100]
	}
	fake := seed(completed, 1, "vid_forged", `,"video_url":"https://cdn.example/`+strings.Repeat("a", 1000)+`"`)
	began := time.Now()
	for try := 1; ; try++ {
		usually := percentile99()
		var flood sync.WaitGroup
		flood.Go(func() { w.flood(base, forgedEvery, " forged", http.StatusUnauthorized, func() event { return fake }) })
		inFlood := percentile99()
		flood.Wait()
		t.Logf("99th percentiles of real deliveries: usually %s; in the flood %s", usually, inFlood)
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

// flood sends deliveries at this rate for one round, checks the status of each answer,
// and returns how long the answers took, sorted.
func (w *world) flood(base string, every time.Duration, secretSuffix string, want int, next func() event) []time.Duration {
	const senders = 20
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	took := make([]time.Duration, roundLength/every)
	began := time.Now()
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for n := sender; n < len(took); n += senders {
				// Each has its time, so that late ones catch up.
				time.Sleep(time.Until(began.Add(time.Duration(n) * every)))
				e, sent := next(), time.Now()
				status, answer, err := e.post(w.ctx, client, base, secretSuffix)
				took[n] = time.Since(sent)
				if err != nil || status != want {
					w.t.Errorf("a delivery was answered %d %s, %v; want %d", status, answer, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took
}
