package pipeline

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// BenchmarkEnqueue is what one of many callers pays at a Redis on this machine, by
// plain client, by go-redis's own pipelining, and by Queue.
func BenchmarkEnqueue(b *testing.B) {
	payload := make([]byte, 700)
	for i := range payload {
		payload[i] = 'x'
	}
	ways := map[string]func(b *testing.B, rdb *redis.Client) func(context.Context, tasks.Task) (bool, error){
		"plain": func(b *testing.B, rdb *redis.Client) func(context.Context, tasks.Task) (bool, error) {
			return tasks.NewClient(rdb).Enqueue
		},
		"autopipeline": func(b *testing.B, rdb *redis.Client) func(context.Context, tasks.Task) (bool, error) {
			auto, err := rdb.AutoPipeline()
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = auto.Close() })
			return tasks.NewClient(auto).Enqueue
		},
		"queue": func(b *testing.B, rdb *redis.Client) func(context.Context, tasks.Task) (bool, error) {
			q := New(Config{Redis: rdb})
			b.Cleanup(q.Close)
			return q.Enqueue
		},
	}
	for _, way := range []string{"plain", "autopipeline", "queue"} {
		for _, callers := range []int{1, 64} {
			b.Run(way+"/callers="+map[int]string{1: "1", 64: "64"}[callers], func(b *testing.B) {
				rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(b).Addr(), ContextTimeoutEnabled: true, PoolSize: callers})
				b.Cleanup(func() { _ = rdb.Close() })
				enqueue := ways[way](b, rdb)
				var n atomic.Int64
				one := func() {
					t := task(int(n.Add(1)))
					t.Payload = payload
					if _, err := enqueue(b.Context(), t); err != nil {
						b.Error(err)
					}
				}
				b.ReportAllocs()
				if callers == 1 {
					for b.Loop() {
						one()
					}
					return
				}
				b.SetParallelism(callers)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						one()
					}
				})
			})
		}
	}
}
