package spool

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/join"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// dial returns a client like the program's.
func dial(t *testing.T, addr, password string) redis.UniversalClient {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, Password: password, DialTimeout: 2 * time.Second, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// startOn starts a Queue on a Redis, in real time.
func startOn(t *testing.T, dir string, rdb redis.UniversalClient) *Queue {
	t.Helper()
	q, err := New(Config{
		Redis: tasks.NewClient(join.Redis(rdb)), Healthy: process.RedisHealth(rdb), Dir: dir, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(),
	})
	testenv.NoError(t, err)
	q.Start(t.Context())
	t.Cleanup(q.Close)
	return q
}

// deliver enqueues events concurrently and returns their IDs, each with a count of 1.
func deliver(t *testing.T, q *Queue, prefix string, n int) map[string]int {
	t.Helper()
	ids := make(map[string]int)
	var wg sync.WaitGroup
	for _, task := range events(prefix, n) {
		ids[task.ID] = 1
		wg.Go(func() {
			if _, err := q.Enqueue(t.Context(), task); err != nil {
				t.Errorf("%s was refused: %v", task.ID, err)
			}
		})
	}
	wg.Wait()
	return ids
}

// queued returns how often each task is in Redis.
func queued(t *testing.T, rdb redis.UniversalClient) map[string]int {
	t.Helper()
	list, err := asynq.NewInspectorFromRedisClient(rdb).ListPendingTasks(tasks.QueueEvents, asynq.PageSize(10_000))
	testenv.NoError(t, err)
	got := make(map[string]int)
	for _, info := range list {
		got[info.ID]++
	}
	return got
}

func TestRedisFaultLosesNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	configure := func(name, value string) func(*testing.T, *testenv.RedisServer, redis.UniversalClient) {
		return func(t *testing.T, _ *testenv.RedisServer, admin redis.UniversalClient) {
			testenv.NoError(t, admin.ConfigSet(ctx, name, value).Err())
		}
	}
	tests := []struct {
		name          string
		breaks, fixes func(t *testing.T, s *testenv.RedisServer, admin redis.UniversalClient)
	}{
		{
			"killed",
			func(_ *testing.T, s *testenv.RedisServer, _ redis.UniversalClient) { s.Kill() },
			func(_ *testing.T, s *testenv.RedisServer, _ redis.UniversalClient) { s.Restart() },
		},
		{
			"hangs",
			func(_ *testing.T, s *testenv.RedisServer, _ redis.UniversalClient) { s.Pause() },
			func(_ *testing.T, s *testenv.RedisServer, _ redis.UniversalClient) { s.Resume() },
		},
		{"out of memory", configure("maxmemory", "1"), configure("maxmemory", "0")},
		{"unable to save", configure("min-replicas-to-write", "1"), configure("min-replicas-to-write", "0")},
		{
			"read-only",
			func(t *testing.T, _ *testenv.RedisServer, admin redis.UniversalClient) {
				testenv.NoError(t, admin.SlaveOf(ctx, "127.0.0.1", "1").Err())
			},
			func(t *testing.T, _ *testenv.RedisServer, admin redis.UniversalClient) {
				testenv.NoError(t, admin.SlaveOf(ctx, "NO", "ONE").Err())
			},
		},
		{
			"wrong password",
			func(t *testing.T, s *testenv.RedisServer, admin redis.UniversalClient) {
				configure("requirepass", "changed")(t, s, admin)
				testenv.NoError(t, dial(t, s.Addr(), "changed").Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
			},
			func(t *testing.T, s *testenv.RedisServer, _ redis.UniversalClient) {
				configure("requirepass", "")(t, s, dial(t, s.Addr(), "changed"))
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := testenv.Redis(t, testenv.WithAOF("always"))
			rdb, admin := dial(t, server.Addr(), ""), dial(t, server.Addr(), "")
			q := startOn(t, t.TempDir(), rdb)
			want := deliver(t, q, "before", 10)
			tt.breaks(t, server, admin)
			for id := range deliver(t, q, "during", 100) {
				want[id] = 1
			}
			// If Redis was slow, the spool also has some from before the fault.
			if n := q.used().events; n < 100 {
				t.Errorf("%d events in the spool, want at least 100", n)
			}
			tt.fixes(t, server, admin)
			for id := range deliver(t, q, "after", 10) {
				want[id] = 1
			}
			q.waitFor(t, 0)
			if diff := cmp.Diff(want, queued(t, rdb)); diff != "" {
				t.Errorf("in Redis (-want +got):\n%s", diff)
			}
		})
	}
}

// Redis and the process with the spool stop in turn.
func TestRestartsLoseNothing(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, testenv.WithAOF("always"))
	rdb := dial(t, server.Addr(), "")
	dir := t.TempDir()
	want := make(map[string]int)
	for round := range 4 {
		q := startOn(t, dir, rdb)
		for i, task := range events(fmt.Sprintf("%d-", round), 60) {
			if i == 20 {
				server.Kill()
			}
			if i == 50 {
				server.Restart()
			}
			if _, err := q.Enqueue(t.Context(), task); err != nil {
				t.Fatal(err)
			}
			want[task.ID] = 1
		}
		q.Close() // during the drain, or before it
	}
	startOn(t, dir, rdb).waitFor(t, 0)
	if diff := cmp.Diff(want, queued(t, rdb)); diff != "" {
		t.Errorf("in Redis (-want +got):\n%s", diff)
	}
}

// Near its memory limit, before it refuses writes, only workers use Redis.
func TestNearlyFullRedisIsNotUsed(t *testing.T) {
	server := testenv.Redis(t)
	rdb := dial(t, server.Addr(), "")
	q := startOn(t, t.TempDir(), rdb)
	var used int
	_, line, _ := strings.Cut(rdb.Info(t.Context(), "memory").Val(), "used_memory:")
	if _, err := fmt.Sscan(line, &used); err != nil {
		t.Fatal(err)
	}
	testenv.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(used*100/93)).Err())
	q.check(t.Context())
	want := deliver(t, q, "e", 20)
	if n := q.used().events; n != 20 {
		t.Errorf("%d events in the spool, want 20", n)
	}
	testenv.NoError(t, rdb.Set(t.Context(), "a worker's", "write", 0).Err())
	testenv.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory", "0").Err())
	q.waitFor(t, 0)
	if diff := cmp.Diff(want, queued(t, rdb)); diff != "" {
		t.Errorf("in Redis (-want +got):\n%s", diff)
	}
}
