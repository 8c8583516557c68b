package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func (f *fixture) deadLetters(t *testing.T) []store.DeadLetter {
	t.Helper()
	list, err := f.store.DeadLetters(t.Context(), store.DeadLetterFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestGivenUpIsBuried holds that what a handler gives up is a dead letter by then.
func TestGivenUpIsBuried(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	task := f.deliver(t, "klingai", "", "video.created", "vid_1", "not JSON")
	f.work(t)
	list := f.deadLetters(t)
	if len(list) != 1 {
		t.Fatalf("%d dead letters, want 1", len(list))
	}
	d := list[0]
	if d.Task.ID != task.ID || string(d.Task.Payload) != string(task.Payload) || d.JobID != "vid_1" || !strings.HasPrefix(d.EventID, "klingai:") {
		t.Errorf("dead letter %+v does not name the task %s", d, task.ID)
	}
	if len(d.Failures) != 1 || d.Failures[0].Attempt != 1 || d.Failures[0].Error != d.Error {
		t.Errorf("failures %+v, want the one", d.Failures)
	}
	// The event is kept all the same, and is not enqueued again and again.
	if _, err := f.store.Event(t.Context(), d.EventID); err != nil {
		t.Error(err)
	}
	if err := f.inspector.DeleteTask(tasks.QueueEvents, task.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.worker.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.inspector.GetTaskInfo(tasks.QueueEvents, task.ID); err == nil {
		t.Error("a sweep enqueued what was given up")
	}
}

// TestArchivedByOthers holds that what an operator or asynq archives is buried by
// the next sweep, and only once.
func TestArchivedByOthers(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		task := f.deliverSeed(t, tasks.TypeCreated, "vid_1", "")
		if err := f.inspector.ArchiveTask(tasks.QueueEvents, task.ID); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := f.worker.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		list := f.deadLetters(t)
		if len(list) != 1 || list[0].Task.ID != task.ID || list[0].Error != "archived by an operator" {
			t.Errorf("dead letters %+v, want the task once", list)
		}
	})
}

// TestArchiveIsKeptSmall holds that a sweep leaves asynq nothing to trim: all that
// was archived is buried, and the archive shrinks.
func TestArchiveIsKeptSmall(t *testing.T) {
	t.Parallel()
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	const n = 2300
	for i := range n {
		f.deliverSeed(t, tasks.TypeCreated, fmt.Sprintf("vid_%d", i), "")
	}
	if _, err := f.inspector.ArchiveAllPendingTasks(tasks.QueueEvents); err != nil {
		t.Fatal(err)
	}
	if err := f.worker.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(f.deadLetters(t)); got != n {
		t.Errorf("%d dead letters, want %d", got, n)
	}
	info, err := f.inspector.GetQueueInfo(tasks.QueueEvents)
	if err != nil {
		t.Fatal(err)
	}
	if info.Archived > 1000 || info.Archived < 500 {
		t.Errorf("%d tasks stay in the archive, want the newest 1000 at most", info.Archived)
	}
}

func TestOrphanRunsUnderAnotherID(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		now := time.Now()
		f.cfg.Now = func() time.Time { return now }
		f.renew(t)
		orphan := f.deliverSeed(t, tasks.TypeCreated, "vid_1", "")
		// As a dequeue leaves it when its lease is lost.
		if err := f.redis.LMove(t.Context(), "asynq:{events}:pending", "asynq:{events}:active", "RIGHT", "LEFT").Err(); err != nil {
			t.Fatal(err)
		}
		if err := f.redis.HSet(t.Context(), "asynq:{events}:t:"+orphan.ID, "state", "active").Err(); err != nil {
			t.Fatal(err)
		}
		for range 4 { // the first sweep suspects it, the later ones repeat nothing
			if err := f.worker.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Minute)
		}
		pending, err := f.inspector.ListPendingTasks(tasks.QueueEvents)
		if err != nil || len(pending) != 1 || pending[0].ID != orphan.NextGeneration().ID || pending[0].Retried != 0 {
			t.Fatalf("pending tasks %v, %v; want the orphan's next generation", pending, err)
		}
		f.renew(t)
		if err := f.worker.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer f.worker.Shutdown()
		f.eventually(t, "the job", func() bool {
			_, err := f.store.Job(t.Context(), "vid_1")
			return err == nil
		})
	})
}

// TestDoneAndOwedAgain holds that what the store says is owed is done again although
// the queue remembers it as done: PostgreSQL had not synced the note of it when it
// died, or the database is one that was restored from a backup.
func TestDoneAndOwedAgain(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		task := f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4"`)
		f.work(t)
		if info := f.state(t, task, tasks.QueueEvents); info.State != asynq.TaskStateCompleted {
			t.Fatalf("the task is %s, want that it is remembered as done", info.State)
		}
		// The backup was made when only the event was in the database.
		f.restore(t, task)
		// Recorded again, it lists the file and the notification, whose tasks are
		// remembered as done too: the next sweep finds these.
		for range 2 {
			f.renew(t)
			if err := f.worker.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.work(t)
		}
		events, err := f.store.Events(t.Context(), store.EventFilter{Unprocessed: true})
		if err != nil || len(events) != 0 {
			t.Errorf("%d events are not processed, %v; want none", len(events), err)
		}
		f.checkVideo(t, "vid_1", "")
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.forwarded) != 1 {
			t.Errorf("there are %d messages, want the one", len(f.forwarded))
		}
		for id, times := range f.forwarded {
			if len(times) != 2 {
				t.Errorf("message %s was forwarded %d times, want once for each database", id, len(times))
			}
		}
	})
}

// restore gives the fixture another database, in which an event is recorded and
// nothing else, and an empty bucket.
func (f *fixture) restore(t *testing.T, recorded tasks.Task) {
	t.Helper()
	older, err := store.Create(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "restored.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := older.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ev, err := tasks.DecodeEvent(recorded.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if err := older.KeepEvent(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	f.store, f.cfg.Store = older, older // closed as the first one would have been
	if err := os.Remove(filepath.Join(f.bucket, "vid_1", "video.mp4")); err != nil {
		t.Fatal(err)
	}
}

// TestRunningTasksAreNoOrphans sweeps while a task is running.
func TestRunningTasksAreNoOrphans(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Minute)
	f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4"`)
	started, release := holdMedia(f)
	if err := f.worker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-started
	if err := f.worker.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	info, err := f.inspector.GetQueueInfo(tasks.QueueMedia)
	if err != nil || info.Active != 1 || info.Pending != 0 {
		t.Errorf("%d active, %d pending, %v; want the running one left alone", info.Active, info.Pending, err)
	}
	close(release)
	f.worker.Shutdown()
}

// holdMedia lets downloads begin, which started tells, and go on once released.
func holdMedia(f *fixture) (started <-chan struct{}, release chan<- struct{}) {
	begun, released := make(chan struct{}), make(chan struct{})
	f.serve = func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-released
		_, _ = io.WriteString(w, video)
	}
	return begun, released
}

// panicking is a protocol whose reader panics.
type panicking struct{ source.Source }

// Update implements [source.Source].
func (panicking) Update(tasks.Event) (*tasks.JobUpdate, error) { panic("a poison payload") }

// TestPanic holds that a task whose handler panics is tried as often as it may be,
// and then is a dead letter that tells of each time.
func TestPanic(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.cfg.Sources["klingai"] = panicking{f.cfg.Sources["klingai"]}
	f.renew(t)
	poison, err := tasks.RecordEvent(tasks.Event{ID: "klingai:1", Source: "klingai", Type: tasks.TypeCreated, JobID: "vid_1", ReceivedAt: time.Now(), Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = asynq.NewClientFromRedisClient(f.redis).EnqueueContext(t.Context(), asynq.NewTask(string(poison.Kind), poison.Payload),
		asynq.TaskID(poison.ID), asynq.Queue(tasks.QueueEvents), asynq.MaxRetry(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.worker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.worker.Shutdown()
	f.eventually(t, "the dead letter", func() bool { return len(f.deadLetters(t)) == 1 })
	d := f.deadLetters(t)[0]
	if len(d.Failures) != 2 || d.Failures[0].Attempt != 1 || d.Failures[1].Attempt != 2 {
		t.Fatalf("failures %+v, want both attempts", d.Failures)
	}
	for _, failure := range d.Failures {
		if !strings.Contains(failure.Error, "panic: a poison payload") {
			t.Errorf("attempt %d failed of %s, want that it panicked", failure.Attempt, failure.Error)
		}
	}
}

// dieHolding leaves a pending task as a worker does that died with it a while ago.
func (f *fixture) dieHolding(t *testing.T, queue string, task tasks.Task) {
	t.Helper()
	key := func(name string) string { return "asynq:{" + queue + "}:" + name }
	err := errors.Join(
		f.redis.LMove(t.Context(), key("pending"), key("active"), "RIGHT", "LEFT").Err(),
		f.redis.HSet(t.Context(), key("t:"+task.ID), "state", "active").Err(),
		f.redis.ZAdd(t.Context(), key("lease"), redis.Z{Score: float64(time.Now().Add(-time.Hour).Unix()), Member: task.ID}).Err(),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// meanwhile is a hook that runs before each command.
type meanwhile func(ctx context.Context, cmd redis.Cmder)

func (m meanwhile) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		m(ctx, cmd)
		return next(ctx, cmd)
	}
}

func (m meanwhile) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestDoneWhileSwept holds that what is done between the questions of a sweep, what is
// owed and which of it no queue has, is not done again, and stays remembered as done.
func TestDoneWhileSwept(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		task := f.deliverSeed(t, tasks.TypeCreated, "vid_1", "")
		ev, err := tasks.DecodeEvent(task.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.store.KeepEvent(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		sweeper := f.worker
		f.renew(t)
		asked := false
		f.redis.AddHook(meanwhile(func(_ context.Context, cmd redis.Cmder) {
			if asked || !strings.Contains(cmd.String(), task.ID) {
				return
			}
			asked = true
			f.workOn(t, tasks.QueueEvents) // before the sweep looks for the task
		}))
		if err := sweeper.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		info, err := f.inspector.GetTaskInfo(tasks.QueueEvents, task.ID)
		if err != nil || info.State != asynq.TaskStateCompleted || !asked {
			t.Errorf("asked: %t; the task is %+v, %v; want that it is done, and remembered", asked, info, err)
		}
	})
}
