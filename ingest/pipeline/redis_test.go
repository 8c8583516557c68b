package pipeline

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// pending returns the IDs of the tasks that wait in a queue of a real Redis.
func pending(t *testing.T, rdb redis.UniversalClient, queue string) []string {
	t.Helper()
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	var ids []string
	for page := 1; ; page++ {
		list, err := inspector.ListPendingTasks(queue, asynq.Page(page), asynq.PageSize(1000))
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return ids
		}
		for _, info := range list {
			ids = append(ids, info.ID)
		}
	}
}

func connect(t *testing.T, addr string) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// TestScriptsForgotten holds that commands whose script Redis does not know, as after
// a restart, succeed nevertheless.
func TestScriptsForgotten(t *testing.T) {
	rdb := connect(t, testenv.Redis(t).Addr())
	q := New(Config{Redis: rdb, Flushers: 1})
	defer q.Close()
	for round := range 3 {
		for _, r := range enqueue(t, q, 200*round, 200*round+200, 30*time.Second)() {
			if r.err != nil {
				t.Error(r.err)
			}
		}
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(pending(t, rdb, tasks.QueueEvents)); n != 600 {
		t.Errorf("%d tasks are in the queue, want 600", n)
	}
}

func TestDuplicatesWithinAPipeline(t *testing.T) {
	rdb := connect(t, testenv.Redis(t).Addr())
	q := New(Config{Redis: rdb, Flushers: 1})
	defer q.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	first := 0
	for range 300 {
		wg.Go(func() {
			duplicate, err := q.Enqueue(t.Context(), task(1))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !duplicate {
				first++
			}
		})
	}
	wg.Wait()
	if n := len(pending(t, rdb, tasks.QueueEvents)); n != 1 || first != 1 {
		t.Errorf("%d tasks in the queue, of which %d were called new; want one", n, first)
	}
}

// TestOneQueueBroken holds, on a real Redis, that what is wrong with one queue is not
// the others' trouble, and that nothing is left of what it did not take: enqueued again
// when it is mended, it is no duplicate.
func TestOneQueueBroken(t *testing.T) {
	rdb := connect(t, testenv.Redis(t).Addr())
	if err := rdb.Set(t.Context(), "asynq:{notify}:pending", "no list", 0).Err(); err != nil {
		t.Fatal(err)
	}
	q := New(Config{Redis: rdb, Flushers: 1})
	defer q.Close()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			one := task(i)
			if i%10 == 0 {
				one.Kind = tasks.KindNotifySend
			}
			if _, err := q.Enqueue(t.Context(), one); (err != nil) != (i%10 == 0) {
				t.Errorf("task %d of kind %s: %v", i, one.Kind, err)
			}
		})
	}
	wg.Wait()
	if n := len(pending(t, rdb, tasks.QueueEvents)); n != 90 {
		t.Errorf("%d tasks are in the queue, want 90", n)
	}
	if err := rdb.Del(t.Context(), "asynq:{notify}:pending").Err(); err != nil {
		t.Fatal(err)
	}
	one := task(0)
	one.Kind = tasks.KindNotifySend
	if duplicate, err := q.Enqueue(t.Context(), one); err != nil || duplicate {
		t.Errorf("when it is mended: a duplicate: %t, %v", duplicate, err)
	}
}

// TestCluster holds that batches go by queue: these are in different slots.
func TestCluster(t *testing.T) {
	server := testenv.Redis(t, testenv.WithCluster())
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	q := New(Config{Redis: rdb, Flushers: 2})
	defer q.Close()
	kinds := []tasks.Kind{tasks.KindEventRecord, tasks.KindMediaDownload, tasks.KindNotifySend}
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			one := task(i)
			one.Kind = kinds[i%len(kinds)]
			if _, err := q.Enqueue(t.Context(), one); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, queue := range []string{tasks.QueueEvents, tasks.QueueMedia, tasks.QueueNotify} {
		if n := len(pending(t, rdb, queue)); n != 100 {
			t.Errorf("%d tasks are in %s, want 100", n, queue)
		}
	}
}

// answers waits until a client whose server was away has found it again, for which
// go-redis looks once a second.
func answers(t *testing.T, rdb redis.UniversalClient) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	for rdb.Ping(t.Context()).Err() != nil {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("Redis does not answer")
		}
	}
}

// TestRedisKilledUnderLoad holds that no success is lost when Redis is killed in the
// midst of pipelines, that nobody waits longer than allowed, and that enqueuing
// everything again leaves each task once.
func TestRedisKilledUnderLoad(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { // go-redis looks for a lost server once a second, and may be in between
		deadline := time.Now().Add(10 * time.Second)
		for goleak.Find(before) != nil && time.Now().Before(deadline) {
			continue // Find waits a while itself
		}
	})
	server := testenv.Redis(t, testenv.WithAOF("always"))
	rdb := connect(t, server.Addr())
	q := New(Config{Redis: rdb})
	defer q.Close()
	const callers, wait = 100, 2 * time.Second
	var mu sync.Mutex // guards the three
	var tried, kept []string
	var failures int
	ctx, stop := context.WithCancel(t.Context())
	some := make(chan struct{})
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := caller; ctx.Err() == nil; i += callers {
				one, cancel := context.WithTimeout(t.Context(), wait)
				_, err := q.Enqueue(one, task(i))
				cancel()
				mu.Lock()
				tried = append(tried, task(i).ID)
				if err != nil {
					failures++
				} else if kept = append(kept, task(i).ID); len(kept) == 2000 {
					close(some) // once: failures after it leave the number as it is
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	<-some
	server.Kill()
	wg.Wait()
	stop()
	server.Restart()
	answers(t, rdb)
	if failures == 0 {
		t.Fatal("no caller noticed that Redis was killed")
	}
	there := pending(t, rdb, tasks.QueueEvents)
	slices.Sort(there)
	for _, id := range kept {
		if _, found := slices.BinarySearch(there, id); !found {
			t.Errorf("%s was called kept, and is not there", id)
		}
	}
	for _, id := range tried {
		if _, err := q.Enqueue(t.Context(), tasks.Task{Kind: tasks.KindEventRecord, ID: id, Payload: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	there = pending(t, rdb, tasks.QueueEvents)
	slices.Sort(there)
	slices.Sort(tried)
	if !slices.Equal(there, tried) {
		t.Errorf("%d tasks are in the queue, want each of %d once", len(there), len(tried))
	}
}

// TestShardsOfACluster holds that events which are spread over the nodes of a cluster
// share pipelines, each of which reaches every node with what is its own: also where a
// node does not know the script yet, and when a delivery is repeated.
func TestShardsOfACluster(t *testing.T) {
	nodes := testenv.RedisCluster(t, 3)
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr()}, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	q := New(Config{Redis: rdb, EventShards: 3, Flushers: 2})
	defer q.Close()
	const events = 300
	for _, repeat := range []bool{false, true} {
		var wg sync.WaitGroup
		for i := range events {
			wg.Go(func() {
				if duplicate, err := q.Enqueue(t.Context(), task(i)); err != nil || duplicate != repeat {
					t.Errorf("event %d: duplicate %t, %v; want %t", i, duplicate, err, repeat)
				}
			})
		}
		wg.Wait()
	}
	total := 0
	for _, queue := range tasks.EventQueues(3) {
		total += len(pending(t, rdb, queue))
	}
	if total != events {
		t.Errorf("%d tasks are in the queues, want %d", total, events)
	}
	for i, node := range nodes {
		// The keys of a queue are its tasks and the list of these.
		if n, err := connect(t, node.Addr()).DBSize(t.Context()).Result(); err != nil || n < events/6 {
			t.Errorf("node %d has %d keys, %v; want its part of %d", i, n, err, events)
		}
	}
}
