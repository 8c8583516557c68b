package worker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
	"github.com/klinghook/klinghook/worker/media"
	"github.com/klinghook/klinghook/worker/notify"
)

// BenchmarkRecord measures how fast a worker with the default settings records a
// backlog of events in PostgreSQL. Run it with -benchtime 20000x.
func BenchmarkRecord(b *testing.B) {
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(b).Addr(), PoolSize: 64})
	defer func() { _ = rdb.Close() }()
	db, err := store.Create(b.Context(), testenv.Postgres(b))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	bucket, err := media.OpenBucket(b.Context(), "file://"+b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = bucket.Close() }()
	notifier, err := notify.New(notify.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer notifier.Close()
	sources, err := source.All(source.NoSecrets)
	if err != nil {
		b.Fatal(err)
	}
	w, err := worker.New(worker.Config{
		Redis: rdb, Store: db, Sources: sources, Fetcher: media.NewFetcher(media.Config{}), Bucket: bucket, Notify: notifier,
		Concurrency: map[string]int{tasks.QueueEvents: 64, tasks.QueueMedia: 4, tasks.QueueNotify: 8},
		Log:         zap.NewNop(), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		b.Fatal(err)
	}
	enqueueEvents(b, rdb, b.N)
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	b.ResetTimer()
	if err := w.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	for left := 1; left > 0; {
		time.Sleep(20 * time.Millisecond)
		info, err := inspector.GetQueueInfo(tasks.QueueEvents)
		if err != nil {
			b.Fatal(err)
		}
		left = info.Pending + info.Active
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	w.Shutdown()
}

// enqueueEvents enqueues n events of as many jobs.
func enqueueEvents(b *testing.B, rdb *redis.Client, n int) {
	b.Helper()
	client := tasks.NewClient(rdb)
	var wg sync.WaitGroup
	for part := range 32 {
		wg.Go(func() {
			for i := part; i < n; i += 32 {
				job := fmt.Sprint("vid_", i)
				body := `{"event":"video.processing","timestamp":"2025-01-15T10:30:00Z","data":{"job_id":"` + job + `","progress":50}}`
				task, err := tasks.RecordEvent(tasks.Event{ID: "klingai:" + job, Source: "klingai", Type: tasks.TypeProcessing, JobID: job, ReceivedAt: time.Now(), Body: []byte(body)})
				if err == nil {
					_, err = client.Enqueue(context.WithoutCancel(b.Context()), task)
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
