package tasks_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// queue is a queue with its client and its inspector.
type queue struct {
	rdb       redis.UniversalClient
	client    *tasks.Client
	inspector *asynq.Inspector
}

// onQueue runs a test on every kind of Redis, a cluster too.
func onQueue(t *testing.T, f func(t *testing.T, q queue)) {
	t.Helper()
	run := func(t *testing.T, rdb redis.UniversalClient) {
		t.Helper()
		t.Cleanup(func() { _ = rdb.Close() })
		f(t, queue{rdb: rdb, client: tasks.NewClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb)})
	}
	t.Run("redis", func(t *testing.T) { run(t, redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})) })
	t.Run("miniredis", func(t *testing.T) { run(t, redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})) })
	t.Run("cluster", func(t *testing.T) {
		run(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{testenv.Redis(t, testenv.WithCluster()).Addr()}}))
	})
}

// record returns an event's task.
func (queue) record(t *testing.T, id string) tasks.Task {
	t.Helper()
	ev := goldenEvent()
	ev.ID = "klingai:" + id
	task, err := tasks.RecordEvent(ev)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// add enqueues an event's task.
func (q queue) add(t *testing.T, id string) tasks.Task {
	t.Helper()
	task := q.record(t, id)
	if _, err := q.client.Enqueue(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	return task
}

// archive enqueues a task and archives it.
func (q queue) archive(t *testing.T, id string) tasks.Task {
	t.Helper()
	task := q.add(t, id)
	if err := q.inspector.ArchiveTask(tasks.QueueEvents, task.ID); err != nil {
		t.Fatal(err)
	}
	return task
}

// leak makes a task one that asynq's inspector has pushed out of its archive.
func (q queue) leak(t *testing.T, id string) tasks.Task {
	t.Helper()
	task := q.archive(t, id)
	if n, err := q.rdb.ZRem(t.Context(), "asynq:{events}:archived", task.ID).Result(); err != nil || n != 1 {
		t.Fatalf("%d removed from the archive, %v", n, err)
	}
	return task
}

// overflow returns what is in the overflow.
func (q queue) overflow(t *testing.T) []string {
	t.Helper()
	ids, err := tasks.Overflow(t.Context(), q.rdb, tasks.QueueEvents, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// state is a task's state; empty when Redis does not have it.
func (q queue) state(t *testing.T, task tasks.Task) string {
	t.Helper()
	state, err := q.rdb.HGet(t.Context(), "asynq:{events}:t:"+task.ID, "state").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return state
}

// TestFindLeaked holds that archived tasks which no list has are found, and no
// others.
func TestFindLeaked(t *testing.T) {
	onQueue(t, func(t *testing.T, q queue) {
		q.add(t, "pending")
		q.archive(t, "archived")
		leaked := q.leak(t, "leaked")
		for want := 1; want >= 0; want-- { // the second time it is in the overflow
			if n, err := tasks.FindLeaked(t.Context(), q.rdb); err != nil || n != want {
				t.Errorf("%d found, %v; want %d", n, err, want)
			}
			if diff := cmp.Diff([]string{leaked.ID}, q.overflow(t)); diff != "" {
				t.Errorf("overflow (-want +got):\n%s", diff)
			}
		}
	})
}

// TestFindLeakedGoesOn holds that a call which could not look at all keys is gone on
// with by the next one.
func TestFindLeakedGoesOn(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})
	defer func() { _ = rdb.Close() }()
	q := queue{rdb: rdb, client: tasks.NewClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb)}
	const n = 3000
	for i := range n {
		q.leak(t, fmt.Sprintf("leaked_%d", i))
	}
	calls, found := 0, 0
	for found < n {
		got, err := tasks.FindLeakedAtMost(t.Context(), rdb, 1000)
		if err != nil || calls > n {
			t.Fatalf("%d found in %d calls, %v", found, calls, err)
		}
		calls++
		found += got
	}
	if calls < 2 || len(q.overflow(t)) != n {
		t.Errorf("%d of %d found in %d calls, want all in several", len(q.overflow(t)), n, calls)
	}
}

// TestDropOverflow holds that only what is still forgotten is deleted.
func TestDropOverflow(t *testing.T) {
	onQueue(t, func(t *testing.T, q queue) {
		forgotten, again := q.leak(t, "forgotten"), q.leak(t, "again")
		if _, err := tasks.FindLeaked(t.Context(), q.rdb); err != nil {
			t.Fatal(err)
		}
		ids := q.overflow(t)
		// A replay lets go of the task and enqueues it anew.
		if err := tasks.Release(t.Context(), q.rdb, again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{forgotten.ID}, q.overflow(t)); diff != "" {
			t.Errorf("overflow after the release (-want +got):\n%s", diff)
		}
		q.add(t, "again")
		if err := tasks.DropOverflow(t.Context(), q.rdb, tasks.QueueEvents, ids); err != nil {
			t.Fatal(err)
		}
		if q.state(t, forgotten) != "" || q.state(t, again) != "pending" || len(q.overflow(t)) != 0 {
			t.Errorf("forgotten task %q, enqueued one %q, overflow %q; want none, pending, none", q.state(t, forgotten), q.state(t, again), q.overflow(t))
		}
	})
}

// TestMakeRoom holds that the newest stay in the archive, the others are kept in
// the order of their time, and nothing happens below the limit.
func TestMakeRoom(t *testing.T) {
	onQueue(t, func(t *testing.T, q queue) {
		const n = tasks.ArchiveKept + 3
		for i := range n {
			task := q.archive(t, fmt.Sprintf("%04d", i))
			if err := q.rdb.ZAdd(t.Context(), "asynq:{events}:archived", redis.Z{Score: float64(2_000_000_000 - i), Member: task.ID}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range []struct{ limit, want int }{{n, 0}, {n - 1, 3}, {0, 0}} {
			if moved, err := tasks.MakeRoom(t.Context(), q.rdb, tasks.QueueEvents, step.limit); err != nil || moved != step.want {
				t.Errorf("limit %d: %d moved, %v; want %d", step.limit, moved, err, step.want)
			}
		}
		want := []string{"event:record:klingai:1002", "event:record:klingai:1001", "event:record:klingai:1000"}
		if got := q.overflow(t); !slices.Equal(got, want) {
			t.Errorf("overflow %q, want the oldest first: %q", got, want)
		}
		info, err := q.inspector.GetQueueInfo(tasks.QueueEvents)
		if err != nil || info.Archived != tasks.ArchiveKept {
			t.Errorf("%d in the archive, %v; want %d", info.Archived, err, tasks.ArchiveKept)
		}
	})
}

// TestRelease holds which tasks are let go of.
func TestRelease(t *testing.T) {
	tests := []struct {
		name                 string
		prepare              func(t *testing.T, q queue) tasks.Task
		unarchived, released string
	}{
		{"pending", func(t *testing.T, q queue) tasks.Task { return q.add(t, "1") }, "pending", "pending"},
		{"archived", func(t *testing.T, q queue) tasks.Task { return q.archive(t, "1") }, "", ""},
		{"leaked", func(t *testing.T, q queue) tasks.Task { return q.leak(t, "1") }, "", ""},
		{"of a kind that is not known", func(t *testing.T, q queue) tasks.Task {
			task := q.archive(t, "1")
			task.Kind = "event:dance"
			return task
		}, "", ""},
		{"completed", func(t *testing.T, q queue) tasks.Task {
			task := q.archive(t, "1")
			q.rdb.ZRem(t.Context(), "asynq:{events}:archived", task.ID)
			q.rdb.ZAdd(t.Context(), "asynq:{events}:completed", redis.Z{Score: 2_000_000_000, Member: task.ID})
			q.rdb.HSet(t.Context(), "asynq:{events}:t:"+task.ID, "state", "completed")
			return task
		}, "completed", ""},
	}
	onQueue(t, func(t *testing.T, q queue) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) { checkRelease(t, q, tt.prepare(t, q), tt.unarchived, tt.released) })
			if err := errors.Join(q.rdb.FlushAll(t.Context()).Err(), tasks.ListQueues(t.Context(), q.rdb, 1)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// checkRelease holds a task's state after it was taken out of the archive, and after
// its release.
func checkRelease(t *testing.T, q queue, task tasks.Task, unarchived, released string) {
	t.Helper()
	if err := tasks.Unarchive(t.Context(), q.rdb, task); err != nil {
		t.Fatal(err)
	}
	if got := q.state(t, task); got != unarchived {
		t.Errorf("taken out of the archive it is %q, want %q", got, unarchived)
	}
	if err := tasks.Release(t.Context(), q.rdb, task); err != nil {
		t.Fatal(err)
	}
	if got := q.state(t, task); got != released {
		t.Errorf("released it is %q, want %q", got, released)
	}
	info, err := q.inspector.GetQueueInfo(tasks.QueueEvents)
	if err != nil || released == "" && info.Size != 0 {
		t.Errorf("the queue lists %d tasks, %v; want none", info.Size, err)
	}
}
