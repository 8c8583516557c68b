package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// setShards sets the number of shards for deliveries and for a new worker.
func (f *fixture) setShards(t *testing.T, shards int) {
	t.Helper()
	f.queue = tasks.NewShardedClient(f.redis, shards)
	f.cfg.EventShards = shards
	f.renew(t)
}

func TestEventsOfAllShardsTakeEffectOnce(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	const n = 20
	// A repeated delivery may be in another shard after a change of the settings.
	for _, shards := range []int{1, 4, 2} {
		f.setShards(t, shards)
		for i := range n {
			f.deliverSeed(t, tasks.TypeFailed, fmt.Sprint("vid_", i), "")
		}
		f.work(t)
		jobs, err := f.store.Jobs(t.Context(), store.JobFilter{Limit: 10 * n})
		if err != nil || len(jobs) != n {
			t.Errorf("%d shards: %d jobs, %v; want %d", shards, len(jobs), err, n)
		}
		if sent := f.sent(); len(sent) != n {
			t.Errorf("%d shards: %d messages sent, want %d", shards, len(sent), n)
		}
	}
}

func TestSweepWarnsOfTasksInOtherShards(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	f.setShards(t, 4)
	for i := range 20 {
		f.deliverSeed(t, tasks.TypeFailed, fmt.Sprint("vid_", i), "")
	}
	f.cfg.EventShards = 3
	f.renew(t)
	f.sweep(t)
	warnings := f.logs.FilterField(zap.String("queue", "events-3")).All()
	if len(warnings) != 1 || warnings[0].ContextMap()["tasks"] == int64(0) || len(f.logs.All()) != 1 {
		t.Errorf("logged %v, want one warning about events-3", f.logs.All())
	}
}

func TestShardsShareConcurrency(t *testing.T) {
	for _, tt := range []struct {
		shards, events int
		want           map[string]float64
	}{
		{0, 16, map[string]float64{"events": 16, "media": 4}},
		{3, 16, map[string]float64{"events": 6, "events-1": 5, "events-2": 5, "media": 4}},
		{3, 2, map[string]float64{"events": 1, "events-1": 1, "events-2": 1, "media": 4}},
	} {
		f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
		f.cfg.Concurrency = map[string]int{"events": tt.events, "media": 4}
		f.setShards(t, tt.shards)
		got := map[string]float64{}
		for name, value := range f.metrics(t) {
			if queue, ok := strings.CutPrefix(name, "klinghook_worker_concurrency "); ok {
				got[queue] = value
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%d events at once, %d shards (-want +got):\n%s", tt.events, tt.shards, diff)
		}
	}
}
