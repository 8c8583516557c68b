//go:build !race

// The race detector multiplies memory, so its build leaves this file out.

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

func TestSweepOf100000OwedRowsTakesLittleMemory(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	const events, batch = 50_000, 100 // each owes itself and a notification
	body := []byte(`{"event":"video.failed","data":{"job_id":"vid_1","error":"` + strings.Repeat("x", 2000) + `"}}`)
	for first := 0; first < events; first += batch {
		list := make([]store.Recording, batch)
		for i := range list {
			list[i] = store.Recording{Destinations: []string{"slack-1"}, Event: tasks.Event{
				ID: fmt.Sprint("klingai:", first+i), Source: "klingai", Type: tasks.TypeFailed, JobID: fmt.Sprint("vid_", first+i), ReceivedAt: time.Now(), Body: body}}
		}
		_, err := f.store.Record(t.Context(), list, time.Now())
		testenv.NoError(t, err)
	}
	runtime.GC()
	before, stop := heap(), make(chan struct{})
	most := make(chan uint64)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		var peak uint64
		for {
			select {
			case <-tick.C:
				peak = max(peak, heap())
			case <-stop:
				most <- peak
				return
			}
		}
	}()
	f.sweep(t)
	close(stop)
	if grown := (<-most - before) >> 20; grown > 32 {
		t.Errorf("the sweep took %d MiB, want 32 at most", grown)
	} else {
		t.Logf("the sweep took %d MiB", grown)
	}
	for _, queue := range []string{tasks.QueueEvents, tasks.QueueNotify} {
		if info, err := f.inspector.GetQueueInfo(queue); err != nil || info.Pending != events {
			t.Errorf("%s has %+v, %v; want %d pending tasks", queue, info, err, events)
		}
	}
}

// heap returns the memory of the heap, without what the runtime has released.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() + sample[1].Value.Uint64()
}
