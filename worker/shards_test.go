package worker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// spread makes what is delivered from now on go into so many shards, as by an ingest
// that has just been started.
func (f *fixture) spread(shards int) { f.queue = tasks.NewShardedClient(f.redis, shards) }

// toldOf makes the worker anew, with a setting for the shards.
func (f *fixture) toldOf(t *testing.T, shards int) {
	t.Helper()
	f.cfg.EventShards = shards
	f.renew(t)
}

// failed delivers that jobs <prefix>_0 and on failed, of which the receiver is told.
func (f *fixture) failed(t *testing.T, prefix string, n int) {
	t.Helper()
	for i := range n {
		f.deliverSeed(t, tasks.TypeFailed, fmt.Sprintf("%s_%d", prefix, i), "")
	}
}

// once holds that each of n events had its effect, and once.
func (f *fixture) once(t *testing.T, n int) {
	t.Helper()
	events, err := f.store.Events(t.Context(), store.EventFilter{Limit: 10 * n})
	if err != nil || len(events) != n {
		t.Errorf("%d events are recorded, %v; want %d", len(events), err, n)
	}
	jobs, err := f.store.Jobs(t.Context(), store.JobFilter{Limit: 10 * n})
	if err != nil || len(jobs) != n {
		t.Errorf("%d jobs, %v; want %d", len(jobs), err, n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.forwarded) != n {
		t.Errorf("the receiver was told of %d, want %d", len(f.forwarded), n)
	}
	for id, messages := range f.forwarded {
		if len(messages) != 1 {
			t.Errorf("%s was sent %d times", id, len(messages))
		}
	}
}

// TestFewerShards holds that a worker which knows of one shard works off what waits in
// four, whatever state it was left in.
func TestFewerShards(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		f.spread(4)
		const n = 40
		f.failed(t, "vid", n)
		for _, queue := range tasks.EventQueues(4) {
			if waiting, err := f.redis.LLen(t.Context(), tasks.PendingKey(queue)).Result(); err != nil || waiting == 0 {
				t.Fatalf("%d wait in %s, %v", waiting, queue, err)
			}
		}
		// One is active without a lease, as a killed Redis leaves it; one is archived.
		orphan, err := f.redis.LMove(t.Context(), tasks.PendingKey("events-3"), "asynq:{events-3}:active", "RIGHT", "LEFT").Result()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.redis.HSet(t.Context(), "asynq:{events-3}:t:"+orphan, "state", "active").Err(); err != nil {
			t.Fatal(err)
		}
		pending, err := f.inspector.ListPendingTasks("events-2")
		if err != nil || len(pending) == 0 {
			t.Fatal(pending, err)
		}
		if err := f.inspector.ArchiveTask("events-2", pending[0].ID); err != nil {
			t.Fatal(err)
		}
		f.toldOf(t, 1)
		f.work(t)
		letters := f.deadLetters(t)
		if len(letters) != 1 || letters[0].Task.ID != pending[0].ID {
			t.Fatalf("dead letters %+v, want the one that was archived", letters)
		}
		f.once(t, n-1)
		replayer := f.replayer(t, addr, webhookSecret)
		if err := replayer.Replay(t.Context(), letters[0]); err != nil {
			t.Fatal(err)
		}
		f.renew(t)
		f.work(t)
		f.once(t, n)
	})
}

// TestMoreShards holds that a worker which knows of one shard runs four as soon as
// something comes there, without being started again, and although Redis has lost the
// list by which they are found.
func TestMoreShards(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	if err := f.worker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.worker.Shutdown()
	f.spread(4)
	f.failed(t, "vid", 20)
	recorded := func(n int) func() bool {
		return func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.forwarded) == n
		}
	}
	f.eventually(t, "the events of all shards", recorded(20))
	if err := f.redis.Del(t.Context(), "asynq:queues").Err(); err != nil {
		t.Fatal(err)
	}
	f.failed(t, "more", 20)
	f.eventually(t, "what came to shards that the worker runs already", recorded(40))
	f.once(t, 40)
}

// TestShardsUnlisted holds that a worker finds shards that are in no list: their client
// had listed them before Redis lost its data.
func TestShardsUnlisted(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	f.spread(4)
	f.failed(t, "lost", 20)
	if err := f.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	f.failed(t, "vid", 20)
	f.work(t)
	f.once(t, 20)
}

// TestRepeatedAfterAChange holds that an event which is delivered again has no second
// effect when its shard is another by then.
func TestRepeatedAfterAChange(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	const n = 20
	for _, shards := range []int{1, 4, 2, 1} {
		f.spread(shards)
		f.failed(t, "vid", n)
		f.toldOf(t, shards)
		f.work(t)
		f.once(t, n)
	}
}

// TestConcurrencyOfShards holds that the shards of events share what a process runs at
// once, one each at the least, and that the other queues are as they were.
func TestConcurrencyOfShards(t *testing.T) {
	for _, tt := range []struct {
		shards, events int
		want           map[string]float64
	}{
		{0, 16, map[string]float64{"events": 16, "media": 4}},
		{1, 16, map[string]float64{"events": 16, "media": 4}},
		{3, 16, map[string]float64{"events": 6, "events-1": 5, "events-2": 5, "media": 4}},
		{3, 2, map[string]float64{"events": 1, "events-1": 1, "events-2": 1, "media": 4}},
	} {
		f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
		f.cfg.Concurrency = map[string]int{"events": tt.events, "media": 4}
		f.toldOf(t, tt.shards)
		registry, ok := f.cfg.Metrics.(*prometheus.Registry)
		if !ok {
			t.Fatal("the fixture's metrics are in no registry")
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, family := range families {
			if family.GetName() != "klinghook_worker_concurrency" {
				continue
			}
			for _, m := range family.GetMetric() {
				got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%d events at once, %d shards (-want +got):\n%s", tt.events, tt.shards, diff)
		}
	}
}
