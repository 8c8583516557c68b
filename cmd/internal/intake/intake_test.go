package intake

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/ingest/spool"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestMain(m *testing.M) {
	redis.SetLogger(process.RedisLogger{Log: zap.NewNop()})
	testenv.Main(m)
}

// openShared opens an Intake whose spool is one of several in dir.
func openShared(t *testing.T, redisURL, dir string) (in *Intake, logged *observer.ObservedLogs) {
	t.Helper()
	core, logged := observer.New(zap.InfoLevel)
	rdb, err := process.NewRedis(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	in, err = Open(t.Context(), Config{
		Settings: &config.Config{SpoolDir: dir, SpoolShared: true, SpoolMaxSize: 1 << 20},
		Redis:    rdb, Log: zap.New(core), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return in, logged
}

// TestSharedSpoolsAreLeftToTheOthers lets two processes keep an event each without
// Redis, and end. The one process that comes after them, with Redis, hands over both.
func TestSharedSpoolsAreLeftToTheOthers(t *testing.T) {
	dir := t.TempDir()
	var ended []*Intake
	for n := range 2 {
		in, _ := openShared(t, "redis://127.0.0.1:1", dir)
		event := tasks.Task{Kind: tasks.KindEventRecord, ID: fmt.Sprint("event-", n), Payload: []byte("{}")}
		if _, err := in.Enqueue(t.Context(), event); err != nil {
			t.Fatal(err)
		}
		ended = append(ended, in)
	}
	for _, in := range ended {
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}

	server := testenv.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	in, logged := openShared(t, server.URL(), dir)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); len(rdb.Keys(t.Context(), "*:t:event-*").Val()) < 2; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("Redis has not got both events; logged: %v", logged.All())
		}
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if logged.FilterField(zap.Int("events", 1)).FilterMessageSnippet("took over").Len() != 1 {
		t.Errorf("it is not told that the other's event was taken over: %v", logged.All())
	}
	for n := range 2 {
		kept, err := spool.OpenShared(spool.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = kept.Close() })
		if got := kept.Stats().Events; got != 0 {
			t.Errorf("spool %d holds %d events still", n, got)
		}
	}
}
