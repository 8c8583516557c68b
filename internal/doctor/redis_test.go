package doctor_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/doctor"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestRedis(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		options []testenv.RedisOption
		set     map[string]string
		check   string
		status  doctor.Severity
		part    string
	}{
		{"version", nil, nil, "redis", doctor.OK, "version "},
		{"nothing on disk", nil, map[string]string{"save": ""}, "redis persistence", doctor.Failed, "in memory only"},
		{"snapshots", nil, map[string]string{"save": "3600 1"}, "redis persistence", doctor.Warning, "no append-only file"},
		{"synced", []testenv.RedisOption{testenv.WithAOF("always")}, nil, "redis persistence", doctor.OK, "synced"},
		{"a second late", []testenv.RedisOption{testenv.WithAOF("everysec")}, nil, "redis persistence", doctor.Warning, "everysec"},
		{"no eviction", nil, nil, "redis eviction", doctor.OK, "noeviction"},
		{"eviction without a limit", nil, map[string]string{"maxmemory-policy": "allkeys-lru"}, "redis eviction", doctor.Warning, "allkeys-lru"},
		{"eviction", nil, map[string]string{"maxmemory-policy": "allkeys-lru", "maxmemory": "100mb"}, "redis eviction", doctor.Failed, "deletes tasks"},
		{"no limit", nil, nil, "redis memory", doctor.Warning, "without a limit"},
		{"much memory left", nil, map[string]string{"maxmemory": "1gb"}, "redis memory", doctor.OK, "MiB used"},
		{"clock", nil, nil, "redis clock", doctor.OK, ""},
		{"cluster", []testenv.RedisOption{testenv.WithCluster()}, nil, "redis", doctor.OK, "version "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := testenv.Redis(t, tt.options...)
			rdb := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{server.Addr()}, IsClusterMode: tt.name == "cluster"})
			t.Cleanup(func() { _ = rdb.Close() })
			for name, value := range tt.set {
				testenv.NoError(t, rdb.ConfigSet(t.Context(), name, value).Err())
			}
			ping := func(ctx context.Context) error { return rdb.Ping(ctx).Err() }
			want(t, find(t, doctor.Redis(doctor.RedisConfig{Client: rdb, Where: "redis://here", Ping: ping})), tt.check, tt.status, tt.part)
		})
	}
}

func TestRedisNearlyFull(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	testenv.NoError(t, rdb.Set(t.Context(), "large", make([]byte, 40<<20), 0).Err())
	info, err := rdb.InfoMap(t.Context(), "memory").Result()
	testenv.NoError(t, err)
	used, err := strconv.Atoi(info["Memory"]["used_memory"])
	testenv.NoError(t, err)
	testenv.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory", strconv.Itoa(used*100/93)).Err())
	ping := func(context.Context) error { return nil }
	want(t, find(t, doctor.Redis(doctor.RedisConfig{Client: rdb, Ping: ping})), "redis memory", doctor.Failed, "does not use Redis above 90 %")
}

func TestUnreachableRedisFails(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rdb.Close() })
	ping := func(context.Context) error { return errors.New("start it") }
	want(t, find(t, doctor.Redis(doctor.RedisConfig{Client: rdb, Ping: ping})), "redis", doctor.Failed, "start it")
	want(t, find(t, doctor.Workers(rdb, 1)), "workers", doctor.Failed, "connection refused")
}

func TestRedisReplicaRefusesWrites(t *testing.T) {
	master, replica := testenv.Redis(t), testenv.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: replica.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	testenv.NoError(t, rdb.Do(t.Context(), "REPLICAOF", "127.0.0.1", master.Addr()[len("127.0.0.1:"):]).Err())
	ping := func(context.Context) error { return nil }
	want(t, find(t, doctor.Redis(doctor.RedisConfig{Client: rdb, Ping: ping})), "redis", doctor.Failed, "refuses a write")
}

func TestWorkers(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	want(t, find(t, doctor.Workers(rdb, 1)), "workers", doctor.Failed, "no worker is running")
	run := func(queues ...string) {
		weights := map[string]int{}
		for _, queue := range queues {
			weights[queue] = 1
		}
		server := asynq.NewServerFromRedisClient(rdb, asynq.Config{Queues: weights, LogLevel: asynq.FatalLevel})
		testenv.NoError(t, server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return nil })))
		t.Cleanup(server.Shutdown)
	}
	run(tasks.QueueEvents, tasks.QueueMedia)
	awaitWorkers(t, rdb, 2)
	want(t, find(t, doctor.Workers(rdb, 1)), "workers", doctor.Failed, "no worker runs notify, rejections")
	run(tasks.QueueNotify, tasks.QueueRejections)
	awaitWorkers(t, rdb, 4)
	want(t, find(t, doctor.Workers(rdb, 1)), "workers", doctor.OK, "events 1")
	want(t, find(t, doctor.Workers(rdb, 2)), "workers", doctor.Failed, "events-1")
}

// awaitWorkers waits until this many queues have a worker.
func awaitWorkers(t *testing.T, rdb redis.UniversalClient, queues int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		running, err := tasks.Workers(rdb)
		testenv.NoError(t, err)
		if len(running) == queues {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d queues have a worker, want %d", len(running), queues)
		}
	}
}

func TestIngests(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	want(t, find(t, doctor.Ingests(rdb)), "ingest", doctor.Warning, "no ingest has reported")
	report := tasks.IngestReport{Host: "host-1"}
	testenv.NoError(t, tasks.ReportIngest(t.Context(), rdb, "a", report))
	want(t, find(t, doctor.Ingests(rdb)), "ingest", doctor.OK, "processes: 1")
	report.Refused = []tasks.Refusal{{Source: "klingai", Reason: "invalid_signature", Count: 3}}
	testenv.NoError(t, tasks.ReportIngest(t.Context(), rdb, "a", report))
	want(t, find(t, doctor.Ingests(rdb)), "ingest", doctor.Warning, "refused 3 deliveries to klingai (invalid_signature)")
	report = tasks.IngestReport{SpoolPercent: 70}
	testenv.NoError(t, tasks.ReportIngest(t.Context(), rdb, "a", report))
	want(t, find(t, doctor.Ingests(rdb)), "ingest", doctor.Warning, "70 % full")
}
