package worker_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestIdleWorkerStartsTaskWithin100ms(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	f.cfg.Concurrency = map[string]int{"events": 16}
	f.renew(t)
	f.start(t)
	var waits []time.Duration
	for i := range 21 {
		start := time.Now()
		job := fmt.Sprint("vid_", i)
		f.deliverSeed(t, tasks.TypeCreated, job, "")
		f.eventually(t, "the job", func() bool {
			_, err := f.store.Job(t.Context(), job)
			return err == nil
		})
		waits = append(waits, time.Since(start))
	}
	slices.Sort(waits)
	if median := waits[len(waits)/2]; median > 100*time.Millisecond {
		t.Errorf("the median wait is %v, want 100ms at most", median)
	} else {
		t.Logf("the median wait is %v", median)
	}
}
