package tasks_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/tasks"
)

// orphan enqueues a task and leaves it as a dequeue does whose lease was lost.
func (q queue) orphan(t *testing.T, id string) tasks.Task {
	t.Helper()
	task := q.add(t, id)
	if err := q.rdb.LMove(t.Context(), "asynq:{events}:pending", "asynq:{events}:active", "RIGHT", "LEFT").Err(); err != nil {
		t.Fatal(err)
	}
	if err := q.rdb.HSet(t.Context(), "asynq:{events}:t:"+task.ID, "state", "active").Err(); err != nil {
		t.Fatal(err)
	}
	return task
}

// TestTwoSweepersRequeueOnce holds that an orphan goes back to its queue once,
// whole, however many look for it.
func TestTwoSweepersRequeueOnce(t *testing.T) {
	onQueue(t, func(t *testing.T, q queue) {
		const n = 200
		for i := range n {
			q.orphan(t, fmt.Sprintf("orphan_%d", i))
		}
		var mu sync.Mutex // guards total
		total := 0
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				put, err := tasks.RequeueOrphans(t.Context(), q.rdb, tasks.QueueEvents)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				total += put
			})
		}
		wg.Wait()
		pending, err := q.inspector.ListPendingTasks(tasks.QueueEvents, asynq.PageSize(2*n))
		if err != nil || total != n || len(pending) != n {
			t.Fatalf("%d put back, %d pending, %v; want %d", total, len(pending), err, n)
		}
		for _, info := range pending {
			if info.Retried != 0 || info.LastErr != "" {
				t.Errorf("%s has %d retries (%s), want none", info.ID, info.Retried, info.LastErr)
			}
		}
	})
}

// TestSweepersLeaveRunningTasks sweeps without a pause while tasks are dequeued and
// run: none is taken for an orphan, not even one that is just being dequeued, so
// that each is run once.
func TestSweepersLeaveRunningTasks(t *testing.T) {
	onQueue(t, func(t *testing.T, q queue) {
		const n = 1000
		for i := range n {
			q.add(t, fmt.Sprintf("task_%d", i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var mu sync.Mutex // guards runs
		runs := map[string]int{}
		server := asynq.NewServerFromRedisClient(q.rdb, asynq.Config{Concurrency: 8, Queues: map[string]int{tasks.QueueEvents: 1}, LogLevel: asynq.FatalLevel})
		err := server.Start(asynq.HandlerFunc(func(ctx context.Context, _ *asynq.Task) error {
			id, _ := asynq.GetTaskID(ctx)
			mu.Lock()
			defer mu.Unlock()
			runs[id]++
			if len(runs) == n {
				cancel()
			}
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for sweeps := 0; ctx.Err() == nil; sweeps++ {
					if put, err := tasks.RequeueOrphans(t.Context(), q.rdb, tasks.QueueEvents); err != nil || put != 0 {
						t.Errorf("sweep %d put back %d, %v; want that it finds nothing", sweeps, put, err)
					}
				}
			})
		}
		wg.Wait()
		server.Shutdown()
		if len(runs) != n {
			t.Errorf("%d of %d tasks were run", len(runs), n)
		}
		for id, times := range runs {
			if times != 1 {
				t.Errorf("%s was run %d times", id, times)
			}
		}
	})
}
