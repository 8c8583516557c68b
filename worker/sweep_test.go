package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestGivenUpTaskIsADeadLetter(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	task := f.deliver(t, "klingai", "", "video.created", "vid_1", "not JSON")
	f.work(t)
	d := f.checkLetters(t, 1)[0]
	if d.Task.ID != task.ID || string(d.Task.Payload) != string(task.Payload) || d.Job.ID != "vid_1" || !strings.HasPrefix(d.EventID, "klingai:") {
		t.Errorf("dead letter %+v does not name the task %s", d, task.ID)
	}
	if len(d.Failures) != 1 || d.Failures[0].Attempt != 1 || d.Failures[0].Error != d.Error {
		t.Errorf("failures %+v, want the one", d.Failures)
	}
	// The event is kept, but no sweep enqueues it.
	if _, err := f.store.Event(t.Context(), d.EventID); err != nil {
		t.Error(err)
	}
	testenv.NoError(t, f.inspector.DeleteTask(tasks.QueueEvents, task.ID))
	f.sweep(t)
	if _, err := f.inspector.GetTaskInfo(tasks.QueueEvents, task.ID); err == nil {
		t.Error("a sweep enqueued an event that was given up")
	}
}

func TestSweepBuriesAndTrimsTheArchive(t *testing.T) {
	t.Parallel()
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	const n = 2300
	for i := range n {
		f.deliverSeed(t, tasks.TypeCreated, fmt.Sprintf("vid_%d", i), "")
	}
	_, err := f.inspector.ArchiveAllPendingTasks(tasks.QueueEvents)
	testenv.NoError(t, err)
	f.sweep(t)
	f.checkLetters(t, n)
	info, err := f.inspector.GetQueueInfo(tasks.QueueEvents)
	testenv.NoError(t, err)
	if info.Archived > 1000 || info.Archived < 500 {
		t.Errorf("%d tasks stay in the archive, want the newest 1000 at most", info.Archived)
	}
}

func TestOrphanedTaskRunsUnderAnotherID(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		now := time.Now()
		f.cfg.Now = func() time.Time { return now }
		f.renew(t)
		orphan := f.deliverSeed(t, tasks.TypeCreated, "vid_1", "")
		// A dequeue leaves a task like this if its lease is lost.
		testenv.NoError(t, f.redis.LMove(t.Context(), "asynq:{events}:pending", "asynq:{events}:active", "RIGHT", "LEFT").Err())
		testenv.NoError(t, f.redis.HSet(t.Context(), "asynq:{events}:t:"+orphan.ID, "state", "active").Err())
		for range 4 { // the first sweep suspects it, the later ones repeat nothing
			f.sweep(t)
			now = now.Add(time.Minute)
		}
		pending, err := f.inspector.ListPendingTasks(tasks.QueueEvents)
		if err != nil || len(pending) != 1 || pending[0].ID != orphan.NextGeneration().ID || pending[0].Retried != 0 {
			t.Fatalf("pending tasks %v, %v; want the orphan's next generation", pending, err)
		}
		f.renew(t)
		f.start(t)
		f.eventually(t, "the job", func() bool {
			_, err := f.store.Job(t.Context(), tasks.KlingJob("vid_1"))
			return err == nil
		})
	})
}

func TestOwedWorkRunsAgainAfterDatabaseRestore(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		task := f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4"`)
		f.work(t)
		if info := f.state(t, task, tasks.QueueEvents); info.State != asynq.TaskStateCompleted {
			t.Fatalf("the task is %s, want completed", info.State)
		}
		// The backup was made when only the event was in the database.
		f.restore(t, task)
		// The first run makes the file and the notification owed, whose tasks are remembered
		// as completed too; the next sweep enqueues these.
		for range 2 {
			f.renew(t)
			f.sweep(t)
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

// restore gives the fixture another database, which has one event and nothing else, and
// an empty bucket.
func (f *fixture) restore(t *testing.T, recorded tasks.Task) {
	t.Helper()
	older, err := store.Create(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "restored.db"))
	testenv.NoError(t, err)
	_, err = older.Migrate(t.Context())
	testenv.NoError(t, err)
	ev, err := tasks.DecodeEvent(recorded.Payload)
	testenv.NoError(t, err)
	_, err = older.KeepEvent(t.Context(), ev)
	testenv.NoError(t, err)
	testenv.NoError(t, f.store.Close())
	f.store, f.cfg.Store = older, older // closed by the cleanup of the first one
	testenv.NoError(t, os.Remove(filepath.Join(f.bucket, "vid_1", "video.mp4")))
}

func TestRunningTaskIsNotAnOrphan(t *testing.T) {
	t.Parallel()
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Minute)
	var later atomic.Int64
	f.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	f.renew(t)
	f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4"`)
	started, release := holdMedia(f)
	testenv.NoError(t, f.worker.Start(t.Context()))
	<-started
	f.sweep(t) // suspects it until its server reports it
	f.eventually(t, "the server's report", func() bool {
		servers, err := f.inspector.Servers()
		return err == nil && slices.ContainsFunc(servers, func(s *asynq.ServerInfo) bool { return len(s.ActiveWorkers) > 0 })
	})
	later.Store(int64(time.Minute))
	f.sweep(t)
	info, err := f.inspector.GetQueueInfo(tasks.QueueMedia)
	if err != nil || info.Active != 1 || info.Pending != 0 {
		t.Errorf("%d active, %d pending, %v; want the running one left alone", info.Active, info.Pending, err)
	}
	close(release)
	f.worker.Shutdown()
}

// holdMedia blocks downloads between started and release.
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

func TestPanicsAreRetriedAndEndAsDeadLetter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.cfg.Sources["klingai"] = panicking{f.cfg.Sources["klingai"]}
	f.renew(t)
	poison, err := tasks.RecordEvent(tasks.Event{ID: "klingai:1", Source: "klingai", Type: tasks.TypeCreated, Job: tasks.KlingJob("vid_1"), ReceivedAt: time.Now(), Body: []byte("{}")})
	testenv.NoError(t, err)
	_, err = asynq.NewClientFromRedisClient(f.redis).EnqueueContext(t.Context(), asynq.NewTask(string(poison.Kind), poison.Payload),
		asynq.TaskID(poison.ID), asynq.Queue(tasks.QueueEvents), asynq.MaxRetry(1))
	testenv.NoError(t, err)
	f.start(t)
	f.eventually(t, "the dead letter", func() bool { return len(f.deadLetters(t)) == 1 })
	d := f.deadLetters(t)[0]
	if len(d.Failures) != 2 || d.Failures[0].Attempt != 1 || d.Failures[1].Attempt != 2 {
		t.Fatalf("failures %+v, want both attempts", d.Failures)
	}
	for _, failure := range d.Failures {
		if !strings.Contains(failure.Error, "panic: a poison payload") {
			t.Errorf("attempt %d failed with %s, want the panic", failure.Attempt, failure.Error)
		}
	}
}

// dieHolding makes a pending task look as if its worker died an hour ago.
func (f *fixture) dieHolding(t *testing.T, queue string, task tasks.Task) {
	t.Helper()
	key := func(name string) string { return "asynq:{" + queue + "}:" + name }
	err := errors.Join(
		f.redis.LMove(t.Context(), key("pending"), key("active"), "RIGHT", "LEFT").Err(),
		f.redis.HSet(t.Context(), key("t:"+task.ID), "state", "active").Err(),
		f.redis.ZAdd(t.Context(), key("lease"), redis.Z{Score: float64(time.Now().Add(-time.Hour).Unix()), Member: task.ID}).Err(),
	)
	testenv.NoError(t, err)
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

func TestSweepDoesNotRepeatWorkDoneMeanwhile(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		task := f.deliverSeed(t, tasks.TypeCreated, "vid_1", "")
		ev, err := tasks.DecodeEvent(task.Payload)
		testenv.NoError(t, err)
		_, err = f.store.KeepEvent(t.Context(), ev)
		testenv.NoError(t, err)
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
		testenv.NoError(t, sweeper.Sweep(t.Context()))
		info, err := f.inspector.GetTaskInfo(tasks.QueueEvents, task.ID)
		if err != nil || info.State != asynq.TaskStateCompleted || !asked {
			t.Errorf("asked: %t; the task is %+v, %v; want completed", asked, info, err)
		}
	})
}
