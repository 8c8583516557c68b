package worker_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// BenchmarkRecord measures how fast a worker with the default settings records a
// backlog of events in PostgreSQL. Run it with -benchtime 20000x.
func BenchmarkRecord(b *testing.B) {
	f := newFixtureOn(b, testenv.Redis(b).Addr(), testenv.Postgres(b), time.Second)
	f.cfg.Concurrency = map[string]int{tasks.QueueEvents: 64, tasks.QueueMedia: 4, tasks.QueueNotify: 8}
	f.renew(b)
	var wg sync.WaitGroup
	for part := range 32 {
		wg.Go(func() {
			for i := part; i < b.N; i += 32 {
				job := fmt.Sprint("vid_", i)
				body := `{"event":"video.processing","timestamp":"2025-01-15T10:30:00Z","data":{"job_id":"` + job + `","progress":50}}`
				task, err := tasks.RecordEvent(tasks.Event{ID: "klingai:" + job, Source: "klingai", Type: tasks.TypeProcessing, JobID: job, ReceivedAt: time.Now(), Body: []byte(body)})
				if err == nil {
					_, err = f.queue.Enqueue(b.Context(), task)
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ResetTimer()
	noError(b, f.worker.Start(b.Context()))
	noError(b, f.worker.Drain(b.Context()))
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	f.worker.Shutdown()
}
