package worker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// asynqHolds is how many tasks asynq keeps in a queue's archive.
const asynqHolds = 9999

// flood is how many tasks fail at once: a little more than asynq's archive holds,
// or what FLOOD says.
func flood(t *testing.T) int {
	t.Helper()
	text := os.Getenv("FLOOD")
	if text == "" {
		return 10_500
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= asynqHolds {
		t.Fatalf("FLOOD is %q; write a number above %d", text, asynqHolds)
	}
	return n
}

// onDatabases runs a test on a real Redis with each kind of database.
func onDatabases(t *testing.T, run func(t *testing.T, f *fixture, rdb *redis.Client)) {
	t.Helper()
	for name, database := range map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + filepath.Join(t.TempDir(), "k.db") },
		"postgres": func() string { return testenv.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixtureOn(t, testenv.Redis(t).Addr(), database(), time.Second)
			run(t, f, f.redis)
		})
	}
}

// together calls do with 0 to n-1, sixteen at a time.
func together(n int, do func(i int)) {
	var wg sync.WaitGroup
	for first := range 16 {
		wg.Go(func() {
			for i := first; i < n; i += 16 {
				do(i)
			}
		})
	}
	wg.Wait()
}

// deliverMany delivers n events of a body each.
func (f *fixture) deliverMany(t *testing.T, n int, body func(job string) string, opts ...asynq.Option) {
	t.Helper()
	client := asynq.NewClientFromRedisClient(f.redis)
	together(n, func(i int) {
		job := fmt.Sprintf("vid_%d", i)
		task, err := tasks.RecordEvent(tasks.Event{
			ID: "klingai:" + job, Source: "klingai", Type: tasks.TypeCreated, JobID: job, ReceivedAt: time.Now(),
			Headers: signed(body(job)), Body: []byte(body(job)),
		})
		if err == nil {
			_, err = client.EnqueueContext(t.Context(), asynq.NewTask(string(task.Kind), task.Payload),
				append(opts, asynq.TaskID(task.ID), asynq.Queue(tasks.QueueEvents))...)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// checkLetters holds that each of the n jobs has exactly one dead letter that is
// dead, and that it is whole.
func (f *fixture) checkLetters(t *testing.T, n int) {
	t.Helper()
	jobs := map[string]int{}
	filter := store.DeadLetterFilter{Limit: 1000}
	for {
		page, err := f.store.DeadLetters(t.Context(), filter)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			filter.After = d.ID
			jobs[d.JobID]++
			if ev, err := tasks.DecodeEvent(d.Task.Payload); err != nil || ev.JobID != d.JobID || d.EventID != ev.ID || d.Error == "" {
				t.Errorf("dead letter %+v is not whole: %v", d, err)
			}
		}
		if len(page) < filter.Limit {
			break
		}
	}
	for i := range n {
		if got := jobs[fmt.Sprintf("vid_%d", i)]; got != 1 {
			t.Fatalf("job %d of %d has %d dead letters, want one; %d jobs have any", i, n, got, len(jobs))
		}
	}
}

// taskCount is how many tasks Redis holds of a queue, whatever its lists say.
func taskCount(t *testing.T, rdb *redis.Client, queue string) int {
	t.Helper()
	n := 0
	keys := rdb.Scan(t.Context(), 0, "asynq:{"+queue+"}:t:*", 10_000).Iterator()
	for keys.Next(t.Context()) {
		n++
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

func seedCreated(job string) string {
	return `{"event":"video.created","data":{"job_id":"` + job + `"}}`
}

// archivers are the ways in which an operator archives many tasks at once.
func archivers() map[string]func(t *testing.T, f *fixture, n int) {
	archiveAll := func(t *testing.T, archive func(queue string) (int, error), n int) {
		t.Helper()
		if got, err := archive(tasks.QueueEvents); err != nil || got != n {
			t.Fatalf("archived %d, %v; want %d", got, err, n)
		}
	}
	all := map[string]func(t *testing.T, f *fixture, n int){
		"all pending": func(t *testing.T, f *fixture, n int) {
			f.deliverMany(t, n, seedCreated)
			archiveAll(t, f.inspector.ArchiveAllPendingTasks, n)
		},
	}
	if os.Getenv("FLOOD") == "" {
		return all
	}
	all["all scheduled"] = func(t *testing.T, f *fixture, n int) {
		f.deliverMany(t, n, seedCreated, asynq.ProcessIn(time.Hour))
		archiveAll(t, f.inspector.ArchiveAllScheduledTasks, n)
	}
	all["one by one"] = func(t *testing.T, f *fixture, n int) {
		f.deliverMany(t, n, seedCreated)
		together(n, func(i int) {
			if err := f.inspector.ArchiveTask(tasks.QueueEvents, fmt.Sprintf("event:record:klingai:vid_%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	return all
}

// TestFloodOfArchived archives more tasks at once than asynq's archive holds, while
// no worker runs. asynq forgets those beyond it; each has its dead letter after one
// sweep all the same, and Redis is rid of them.
func TestFloodOfArchived(t *testing.T) {
	t.Parallel()
	for name, archive := range archivers() {
		t.Run(name, func(t *testing.T) {
			onDatabases(t, func(t *testing.T, f *fixture, rdb *redis.Client) {
				n := flood(t)
				archive(t, f, n)
				archived, err := rdb.ZCard(t.Context(), "asynq:{events}:archived").Result()
				if err != nil || archived != asynqHolds || taskCount(t, rdb, tasks.QueueEvents) != n {
					t.Fatalf("%d of %d in the archive, %v; want that asynq forgets those beyond %d", archived, n, err, asynqHolds)
				}
				start := time.Now()
				if err := f.worker.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				t.Logf("%d archived tasks buried in %s", n, time.Since(start).Round(time.Millisecond))
				f.checkLetters(t, n)
				if left := taskCount(t, rdb, tasks.QueueEvents); left != tasks.ArchiveKept {
					t.Errorf("Redis still has %d tasks, want the newest %d", left, tasks.ArchiveKept)
				}
				if err := f.worker.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.checkLetters(t, n)
			})
		})
	}
}

// TestFloodOfFailures lets more tasks fail for good at once than asynq's archive
// holds.
func TestFloodOfFailures(t *testing.T) {
	t.Parallel()
	onDatabases(t, func(t *testing.T, f *fixture, rdb *redis.Client) {
		n := flood(t)
		if os.Getenv("FLOOD") == "" && strings.HasSuffix(t.Name(), "/sqlite") {
			n = 1500 // it syncs each to the disk
		}
		f.deliverMany(t, n, func(job string) string { return "not JSON: " + job })
		start := time.Now()
		if err := f.worker.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
		defer cancel()
		err := f.worker.Drain(ctx)
		f.worker.Shutdown()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d failures buried in %s", n, time.Since(start).Round(time.Millisecond))
		f.checkLetters(t, n)
		if err := f.worker.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.checkLetters(t, n)
		if left := taskCount(t, rdb, tasks.QueueEvents); left > tasks.ArchiveFull {
			t.Errorf("Redis still has %d tasks, want %d at most", left, tasks.ArchiveFull)
		}
	})
}

// TestFailureAfterFlood holds that a task which is given up while the archive is
// full of what no sweep has seen pushes nothing of that out of Redis.
func TestFailureAfterFlood(t *testing.T) {
	t.Parallel()
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	n := flood(t)
	f.deliverMany(t, n, seedCreated)
	if _, err := f.inspector.ArchiveAllPendingTasks(tasks.QueueEvents); err != nil {
		t.Fatal(err)
	}
	// That was hours ago: the oldest are what asynq deletes.
	const archive = "asynq:{events}:archived"
	if err := f.redis.ZUnionStore(t.Context(), archive, &redis.ZStore{Keys: []string{archive}, Weights: []float64{0.99999}}).Err(); err != nil {
		t.Fatal(err)
	}
	// Another worker has swept a moment ago, so that this one does not.
	if err := f.redis.Set(t.Context(), "klinghook:sweep", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	const failing = 50
	together(failing, func(i int) {
		f.deliver(t, "klingai", "", tasks.TypeCreated, fmt.Sprintf("vid_%d", n+i), fmt.Sprintf("not JSON: vid_%d", n+i))
	})
	f.work(t)
	if err := f.worker.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.checkLetters(t, n+failing)
}

// TestGuard holds that a worker makes room in a full archive although nobody sweeps:
// asynq's recoverer archives without asking.
func TestGuard(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	const n = tasks.ArchiveFull + 1
	f.deliverMany(t, n, seedCreated)
	if _, err := f.inspector.ArchiveAllPendingTasks(tasks.QueueEvents); err != nil {
		t.Fatal(err)
	}
	if err := f.redis.Set(t.Context(), "klinghook:sweep", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.worker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.worker.Shutdown()
	f.eventually(t, "room in the archive", func() bool {
		archived, err := f.redis.ZCard(t.Context(), "asynq:{events}:archived").Result()
		return err == nil && archived == tasks.ArchiveKept
	})
	waiting, err := tasks.Overflow(t.Context(), f.redis, tasks.QueueEvents, n)
	if err != nil || len(waiting) != n-tasks.ArchiveKept || taskCount(t, f.redis, tasks.QueueEvents) != n {
		t.Errorf("%d wait to be buried, %d are in Redis, %v; want %d and all", len(waiting), taskCount(t, f.redis, tasks.QueueEvents), err, n-tasks.ArchiveKept)
	}
}
