package spool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// dial returns a client as the process makes one.
func dial(t *testing.T, addr, password string) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, Password: password, DialTimeout: 2 * time.Second, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// running is a Queue on a Redis, in real time.
type running struct {
	*Queue
	spool *Spool
	// drained gets a message each time the spool has been emptied.
	drained chan struct{}
	stop    func()
}

func startQueue(t *testing.T, dir string, rdb *redis.Client, healthy func(context.Context) error) *running {
	t.Helper()
	r := &running{spool: mustOpen(t, Config{Dir: dir}), drained: make(chan struct{}, 100)}
	log := zap.New(zapcore.NewNopCore()).WithOptions(zap.WrapCore(func(zapcore.Core) zapcore.Core {
		return zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "m"}), zapcore.AddSync(testWriter{t}), zapcore.DebugLevel)
	}), zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == "spool drained" {
			r.drained <- struct{}{}
		}
		return nil
	}))
	r.Queue = NewQueue(QueueConfig{Inner: tasks.NewClient(rdb), Spool: r.spool, Healthy: healthy, HealthInterval: 50 * time.Millisecond, Log: log, Metrics: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		mustClose(t, r.spool)
	})
	t.Cleanup(r.stop)
	return r
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// untilEmpty waits for the end of a drain that leaves nothing.
func (r *running) untilEmpty(t *testing.T) {
	t.Helper()
	deadline := time.After(time.Minute)
	for r.spool.Stats().Events > 0 {
		select {
		case <-r.drained:
		case <-deadline:
			t.Fatalf("not drained: %+v", r.Status())
		}
	}
}

// queued returns how often each task is in Redis.
func queued(t *testing.T, rdb *redis.Client) map[string]int {
	t.Helper()
	list, err := asynq.NewInspectorFromRedisClient(rdb).ListPendingTasks(tasks.QueueEvents, asynq.PageSize(10_000))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, info := range list {
		got[info.ID]++
	}
	return got
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRedisFaults(t *testing.T) {
	ctx := context.Background()
	const password = "changed"
	tests := []struct {
		name string
		// hurt breaks a Redis, and heal mends it. admin is a client that nothing of
		// this is for.
		hurt, heal func(t *testing.T, s *testenv.RedisServer, admin *redis.Client)
	}{
		{
			"refused",
			func(_ *testing.T, s *testenv.RedisServer, _ *redis.Client) { s.Kill() },
			func(_ *testing.T, s *testenv.RedisServer, _ *redis.Client) { s.Restart() },
		},
		{
			"hung",
			func(_ *testing.T, s *testenv.RedisServer, _ *redis.Client) { s.Pause() },
			func(_ *testing.T, s *testenv.RedisServer, _ *redis.Client) { s.Resume() },
		},
		{
			"out of memory",
			func(t *testing.T, _ *testenv.RedisServer, admin *redis.Client) {
				must(t, admin.ConfigSet(ctx, "maxmemory", "1").Err())
			},
			func(t *testing.T, _ *testenv.RedisServer, admin *redis.Client) {
				must(t, admin.ConfigSet(ctx, "maxmemory", "0").Err())
			},
		},
		{
			"read-only",
			func(t *testing.T, _ *testenv.RedisServer, admin *redis.Client) {
				must(t, admin.ReplicaOf(ctx, "127.0.0.1", "1").Err())
			},
			func(t *testing.T, _ *testenv.RedisServer, admin *redis.Client) {
				must(t, admin.ReplicaOf(ctx, "NO", "ONE").Err())
			},
		},
		{
			"wrong password",
			func(t *testing.T, _ *testenv.RedisServer, admin *redis.Client) {
				must(t, admin.ConfigSet(ctx, "requirepass", password).Err())
				must(t, admin.ClientKillByFilter(ctx, "SKIPME", "yes", "TYPE", "normal").Err())
			},
			func(t *testing.T, s *testenv.RedisServer, _ *redis.Client) {
				must(t, dial(t, s.Addr(), password).ConfigSet(ctx, "requirepass", "").Err())
			},
		},
		{
			"unable to save",
			func(t *testing.T, _ *testenv.RedisServer, admin *redis.Client) {
				must(t, admin.ConfigSet(ctx, "min-replicas-to-write", "1").Err())
			},
			func(t *testing.T, _ *testenv.RedisServer, admin *redis.Client) {
				must(t, admin.ConfigSet(ctx, "min-replicas-to-write", "0").Err())
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := testenv.Redis(t, testenv.WithAOF("always"))
			rdb, admin := dial(t, server.Addr(), ""), dial(t, server.Addr(), "")
			q := startQueue(t, t.TempDir(), rdb, nil)

			want := make(map[string]int)
			deliver := func(prefix string, n int) {
				t.Helper()
				var wg sync.WaitGroup
				for _, task := range events(prefix, n) {
					want[task.ID] = 1
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
						defer cancel()
						if _, err := q.Enqueue(ctx, task); err != nil {
							t.Errorf("%s was refused: %v", task.ID, err)
						}
					})
				}
				wg.Wait()
			}
			deliver("before", 10)
			tt.hurt(t, server, admin)
			deliver("during", 100)
			// Those before may be among them: Redis can be slow.
			if n := q.spool.Stats().Events; n < 100 {
				t.Errorf("%d events in the spool, want 100 at least", n)
			}
			if s := q.Status(); !s.Open {
				t.Errorf("status %+v", s)
			}
			tt.heal(t, server, admin)
			deliver("after", 10)
			q.untilEmpty(t)
			if diff := cmp.Diff(want, queued(t, rdb)); diff != "" {
				t.Errorf("in Redis (-want +got):\n%s", diff)
			}
			if s := q.Status(); s.Open {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// What Redis answers while it loads its data, and where it refuses to write.
func TestRedisRefusals(t *testing.T) {
	for _, answer := range []string{
		"LOADING Redis is loading the dataset in memory",
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"WRONGPASS invalid username-password pair or user is disabled.",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"NOPERM this user has no permissions to run the 'evalsha' command",
	} {
		t.Run(strings.Fields(answer)[0], func(t *testing.T) {
			server := miniredis.RunT(t)
			rdb := dial(t, server.Addr(), "")
			q := startQueue(t, t.TempDir(), rdb, nil)
			server.SetError(answer)
			for _, task := range events("e", 10) {
				if _, err := q.Enqueue(t.Context(), task); err != nil {
					t.Errorf("%s was refused: %v", task.ID, err)
				}
			}
			server.SetError("")
			q.untilEmpty(t)
			if got := queued(t, rdb); len(got) != 10 {
				t.Errorf("Redis has %v", got)
			}
		})
	}
}

// A host that swallows packets hangs in the dial, not in the call.
func TestRedisThatDoesNotAccept(t *testing.T) {
	end := make(chan struct{})
	rdb := redis.NewClient(&redis.Options{
		DialTimeout: time.Minute, DialerRetries: 1, ContextTimeoutEnabled: true,
		Dialer: func(context.Context, string, string) (net.Conn, error) { <-end; return nil, net.ErrClosed },
	})
	defer func() { close(end); _ = rdb.Close() }()
	inner := tasks.NewClient(rdb)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := inner.Enqueue(ctx, event("e")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// Redis and the process that spools die in turn, and nothing is lost.
func TestRestartsInTurn(t *testing.T) {
	server := testenv.Redis(t, testenv.WithAOF("always"))
	rdb := dial(t, server.Addr(), "")
	dir := t.TempDir()
	want := make(map[string]int)
	for round := range 4 {
		q := startQueue(t, dir, rdb, nil)
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
		q.stop() // in the middle of the drain, or before
	}
	q := startQueue(t, dir, rdb, nil)
	q.untilEmpty(t)
	if diff := cmp.Diff(want, queued(t, rdb)); diff != "" {
		t.Errorf("in Redis (-want +got):\n%s", diff)
	}
}

func TestMemoryProbe(t *testing.T) {
	server := testenv.Redis(t)
	rdb := dial(t, server.Addr(), "")
	probe := MemoryProbe(rdb)
	// Beside this, what a connection takes does not count.
	must(t, rdb.Set(t.Context(), "large", make([]byte, 32<<20), 0).Err())
	used, _, _ := parseMemory(rdb.Info(t.Context(), "memory").Val())
	if used == 0 {
		t.Fatal("Redis does not say what it uses")
	}
	tests := []struct {
		name    string
		limit   uint64
		policy  string
		wantErr bool
	}{
		{"no limit", 0, "noeviction", false},
		{"far from it", used * 10, "noeviction", false},
		{"near it", used * 100 / 95, "noeviction", true},
		{"below, but not far enough", used * 100 / 88, "noeviction", true},
		{"far enough", used * 100 / 70, "noeviction", false},
		{"nearer, but not near enough", used * 100 / 88, "noeviction", false},
		{"beyond it", used / 2, "volatile-lru", true},
		{"evicting all keys", used / 2, "allkeys-lru", false},
	}
	for _, tt := range tests { // in this order
		t.Run(tt.name, func(t *testing.T) {
			// Keys are evicted on writes only, and there are none.
			must(t, rdb.ConfigSet(t.Context(), "maxmemory-policy", tt.policy).Err())
			must(t, rdb.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(tt.limit)).Err())
			if err := probe(t.Context()); (err != nil) != tt.wantErr {
				t.Errorf("error %v, want one: %t", err, tt.wantErr)
			}
		})
	}
	server.Kill()
	if err := probe(t.Context()); err == nil {
		t.Error("no error of a Redis that is gone")
	}
}

// TestMemoryProbeInCluster holds that one full master of three is seen, and that one
// which is away says nothing of memory.
func TestMemoryProbeInCluster(t *testing.T) {
	nodes := testenv.RedisCluster(t, 3)
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr()}})
	t.Cleanup(func() { _ = rdb.Close() })
	probe := MemoryProbe(rdb)
	must(t, probe(t.Context()))
	full := dial(t, nodes[2].Addr(), "")
	used, _, _ := parseMemory(full.Info(t.Context(), "memory").Val())
	must(t, full.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(used/2)).Err())
	if err := probe(t.Context()); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("with a full master: %v", err)
	}
	must(t, full.ConfigSet(t.Context(), "maxmemory", "0").Err())
	nodes[1].Kill()
	must(t, probe(t.Context()))
}

func TestMemoryProbeWithoutInfo(t *testing.T) {
	server := miniredis.RunT(t)
	probe := MemoryProbe(dial(t, server.Addr(), ""))
	for answer, wantErr := range map[string]bool{
		"NOPERM this user has no permissions to run the 'info' command": false,
		"ERR unknown command 'INFO'":                                    false,
		"NOAUTH Authentication required.":                               true,
		"LOADING Redis is loading the dataset in memory":                true,
	} {
		server.SetError(answer)
		if err := probe(t.Context()); (err != nil) != wantErr {
			t.Errorf("%s: error %v, want one: %t", answer, err, wantErr)
		}
	}
}

// Near its memory limit Redis is left alone, before it refuses anything.
func TestMemoryLimitKeepsRoomForWorkers(t *testing.T) {
	server := testenv.Redis(t)
	rdb := dial(t, server.Addr(), "")
	q := startQueue(t, t.TempDir(), rdb, MemoryProbe(dial(t, server.Addr(), "")))
	used, _, _ := parseMemory(rdb.Info(t.Context(), "memory").Val())
	must(t, rdb.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(used*100/93)).Err())
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for open := false; !open; <-tick.C {
		open = q.Status().Open
	}
	want := make(map[string]int)
	for _, task := range events("e", 20) {
		if _, err := q.Enqueue(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		want[task.ID] = 1
	}
	if err := rdb.Set(t.Context(), "a worker's", "write", 0).Err(); err != nil {
		t.Errorf("workers starve: %v", err)
	}
	if n := q.spool.Stats().Events; n != 20 {
		t.Errorf("%d events in the spool, want 20", n)
	}
	must(t, rdb.ConfigSet(t.Context(), "maxmemory", "0").Err())
	q.untilEmpty(t)
	if got := queued(t, rdb); !maps.Equal(got, want) {
		t.Errorf("Redis has %v", got)
	}
}
