//go:build !race

// The race detector uses too much memory for this test.

package worker_test

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// The bodies of all events would take 80 MiB.
func TestSweepOfManyOwedRowsTakesLittleMemory(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	const events, batch, most = 5000, 500, 16 // each event and its notification are owed
	body := []byte(`{"event":"video.failed","data":{"job_id":"vid_1","error":"` + strings.Repeat("x", 16<<10) + `"}}`)
	for first := 0; first < events; first += batch {
		list := make([]store.Recording, batch)
		for i := range list {
			list[i] = store.Recording{Destinations: []string{"slack-1"}, Event: tasks.Event{
				ID: fmt.Sprint("klingai:", first+i), Source: "klingai", Type: tasks.TypeFailed, Job: tasks.KlingJob(fmt.Sprint("vid_", first+i)), ReceivedAt: time.Now(), Body: body}}
		}
		_, err := f.store.Record(t.Context(), list, time.Now())
		testenv.NoError(t, err)
	}
	runtime.GC()
	before, peak := heap(), int64(0)
	swept, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				peak = max(peak, heap())
			case <-swept:
				return
			}
		}
	}()
	f.sweep(t)
	close(swept)
	<-watched
	if grown := (peak - before) >> 20; grown > most {
		t.Errorf("the sweep took %d MiB, want %d at most", grown, most)
	}
	for _, queue := range []string{tasks.QueueEvents, tasks.QueueNotify} {
		if info, err := f.inspector.GetQueueInfo(queue); err != nil || info.Pending != events {
			t.Errorf("%s has %+v, %v; want %d pending tasks", queue, info, err, events)
		}
	}
}

// heap returns the memory of all objects on the heap.
func heap() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
