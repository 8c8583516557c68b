package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestSpoolErrorSaysWhatToDo(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rdb.Close() })
	for dir, want := range map[string]string{
		"/sys/klinghook":         "let this user write there", // not even root may
		"/dev/null/not-a-folder": "KLINGHOOK_SPOOL_DIR (--spool-dir)",
	} {
		_, err := OpenQueue(&config.Config{SpoolDir: dir}, rdb, zap.NewNop(), prometheus.NewRegistry())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--no-spool") || !strings.Contains(err.Error(), dir) {
			t.Errorf("spool in %s: %v, want an error with %q", dir, err, want)
		}
	}
}

// eventually waits until done returns nil.
func eventually(t *testing.T, done func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// No worker runs at first. Samples of refused deliveries must not fill a Redis of 16 MiB,
// and a Redis that was filled with them must become usable again.
func TestSamplesLeaveRoomInASmallRedis(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "16mb").Err(); err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{SpoolDir: t.TempDir(), EventShards: 1, QueueTimeout: 5 * time.Second}
	queue, err := OpenQueue(cfg, rdb, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	queue.Start(t.Context())
	t.Cleanup(queue.Close)
	sample := func(i int) tasks.Task {
		headers := map[string]string{}
		for n := range 32 {
			headers[fmt.Sprint(n, strings.Repeat("a", 60))] = strings.Repeat(`"`, 256)
		}
		task, err := tasks.KeepRejection(tasks.Rejection{ID: fmt.Sprint(i), Detail: strings.Repeat("d", 1024), Headers: headers, Body: make([]byte, 4096)})
		if err != nil {
			t.Fatal(err)
		}
		return task
	}
	kept := 0
	for i := range 1000 {
		switch _, err := queue.Enqueue(t.Context(), sample(i)); {
		case err == nil:
			kept++
		case !errors.Is(err, tasks.ErrQueueFull):
			t.Fatal(err)
		}
	}
	if kept != 256 {
		t.Errorf("%d samples are kept, want 256", kept)
	}
	deliver := func(id string) error {
		task, err := tasks.RecordEvent(tasks.Event{ID: id, Source: "klingai"})
		if err != nil {
			return err
		}
		_, err = queue.Enqueue(t.Context(), task)
		return err
	}
	if err := deliver("flooded"); err != nil || queue.Detail()["spool"].(map[string]any)["events"] != 0 { //nolint:errcheck // it is one
		t.Errorf("an event in the flood: %v, %v; want it in Redis", err, queue.Detail())
	}

	client := asynq.NewClientFromRedisClient(rdb)
	for i := 0; err == nil; i++ { // as without the limit
		_, err = client.Enqueue(asynq.NewTask(string(tasks.KindRejectionKeep), sample(i).Payload), asynq.Queue(tasks.QueueRejections))
	}
	if !strings.Contains(err.Error(), "OOM") {
		t.Fatalf("enqueue until Redis is full: %v", err)
	}
	if err := deliver("full"); err != nil {
		t.Errorf("an event while Redis is full: %v", err)
	}
	recorded := make(chan struct{}, 10)
	server := asynq.NewServerFromRedisClient(rdb, asynq.Config{
		Concurrency: 1, Queues: map[string]int{tasks.QueueEvents: 1}, LogLevel: asynq.FatalLevel, TaskCheckInterval: 100 * time.Millisecond,
	})
	if err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { recorded <- struct{}{}; return nil })); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	eventually(t, func() error {
		if n := len(recorded); n < 2 {
			return fmt.Errorf("%d events are recorded, want 2", n)
		}
		return queue.Check(t.Context())
	})
}
