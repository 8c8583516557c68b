package worker

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

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// BenchmarkFetch is how fast tasks without an effect leave a queue, by one plain
// server and by those that a worker has for it, with the same concurrency.
func BenchmarkFetch(b *testing.B) {
	const concurrency = 16
	ways := map[string]func(rdb *redis.Client) (servers []*asynq.Server, stop func()){
		"plain": func(rdb *redis.Client) ([]*asynq.Server, func()) {
			return []*asynq.Server{asynq.NewServerFromRedisClient(rdb, asynq.Config{
				Concurrency: concurrency, Queues: map[string]int{tasks.QueueEvents: 1}, LogLevel: asynq.ErrorLevel,
			})}, func() {}
		},
		"worker": func(rdb *redis.Client) ([]*asynq.Server, func()) {
			w := &Worker{cfg: Config{Redis: rdb, Grace: time.Second, Log: zap.NewNop()}, metrics: newMetrics(prometheus.NewRegistry()), fetcher: newFetchClient(rdb)}
			return w.newServers(tasks.QueueEvents, concurrency), w.fetcher.close
		},
	}
	for _, way := range []string{"plain", "worker"} {
		b.Run(way, func(b *testing.B) {
			rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(b).Addr(), ContextTimeoutEnabled: true, PoolSize: 32})
			defer func() { _ = rdb.Close() }()
			fill(b, rdb, b.N)
			var left sync.WaitGroup
			left.Add(b.N)
			servers, stop := ways[way](rdb)
			b.ResetTimer()
			for _, server := range servers {
				if err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { left.Done(); return nil })); err != nil {
					b.Fatal(err)
				}
			}
			left.Wait()
			b.StopTimer()
			stop()
			for _, server := range servers {
				server.Shutdown()
			}
		})
	}
}

// fill enqueues n tasks.
func fill(b *testing.B, rdb *redis.Client, n int) {
	b.Helper()
	client := tasks.NewClient(rdb)
	var wg sync.WaitGroup
	for part := range 32 {
		wg.Go(func() {
			for i := part; i < n; i += 32 {
				if _, err := client.Enqueue(b.Context(), tasks.Task{Kind: tasks.KindEventRecord, ID: fmt.Sprint(i), Payload: []byte("{}")}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
