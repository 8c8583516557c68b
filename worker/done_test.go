package worker_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// letterStates returns the states of all dead letters, by kind of task.
func (f *fixture) letterStates(t *testing.T) map[tasks.Kind][]store.DeadLetterState {
	t.Helper()
	list, err := f.store.DeadLetters(t.Context(), store.DeadLetterFilter{Ended: true})
	testenv.NoError(t, err)
	got := map[tasks.Kind][]store.DeadLetterState{}
	for _, d := range list {
		got[d.Task.Kind] = append(got[d.Task.Kind], d.State)
		if (d.State == store.DeadLetterDead) != d.EndedAt.IsZero() {
			t.Errorf("dead letter of %s is %s and ended at %s", d.Task.ID, d.State, d.EndedAt)
		}
	}
	return got
}

func TestRerunFromQueuePagesClosesDeadLetter(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		f.completedAt(t, "30", "vid_1", "/v.mp4")
		steps := []struct {
			queue string
			kind  tasks.Kind
		}{{tasks.QueueEvents, tasks.KindEventRecord}, {tasks.QueueMedia, tasks.KindMediaDownload}, {tasks.QueueNotify, tasks.KindNotifySend}}
		want := map[tasks.Kind][]store.DeadLetterState{}
		for _, step := range steps {
			if n, err := f.inspector.ArchiveAllPendingTasks(step.queue); err != nil || n != 1 {
				t.Fatalf("%s: archived %d, %v; want 1", step.kind, n, err)
			}
			f.sweep(t)
			want[step.kind] = []store.DeadLetterState{store.DeadLetterDead}
			if diff := cmp.Diff(want, f.letterStates(t)); diff != "" {
				t.Fatalf("%s: after the sweep (-want +got):\n%s", step.kind, diff)
			}
			if n, err := f.inspector.RunAllArchivedTasks(step.queue); err != nil || n != 1 {
				t.Fatalf("%s: run %d, %v; want 1", step.kind, n, err)
			}
			f.workOn(t, step.queue)
			want[step.kind][0] = store.DeadLetterDone
			if diff := cmp.Diff(want, f.letterStates(t)); diff != "" {
				t.Errorf("%s: after the run (-want +got):\n%s", step.kind, diff)
			}
		}
		f.checkMedia(t, "vid_1", store.MediaStored, "")
		if len(f.forwarded) != 1 {
			t.Errorf("%d messages forwarded, want 1", len(f.forwarded))
		}
		f.checkLetters(t, 0)
	})
}

// workOn runs the tasks of one queue, without a sweep, while the others are paused.
func (f *fixture) workOn(t *testing.T, queue string) {
	t.Helper()
	// Another worker has just swept.
	testenv.NoError(t, f.redis.Set(t.Context(), "klinghook:sweep", 1, 0).Err())
	for _, other := range tasks.Queues() {
		if other == queue {
			continue
		}
		testenv.NoError(t, f.inspector.PauseQueue(other))
	}
	testenv.NoError(t, f.worker.Start(t.Context()))
	f.eventually(t, queue+" to be empty", func() bool {
		info, err := f.inspector.GetQueueInfo(queue)
		return err == nil && info.Pending+info.Active == 0
	})
	f.worker.Shutdown()
	for _, other := range tasks.Queues() {
		if other == queue {
			continue
		}
		testenv.NoError(t, f.inspector.UnpauseQueue(other))
	}
	f.renew(t)
}

func TestLaterLinkEndsDeadLetter(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.serve = func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/dead") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, video)
	}
	f.completedAt(t, "30", "vid_1", "/dead.mp4")
	f.completedAt(t, "30", "vid_2", "/dead.mp4")
	f.work(t)
	f.checkLetters(t, 2)
	f.renew(t)
	f.completedAt(t, "31", "vid_1", "/good.mp4")
	f.work(t)
	for range 2 {
		f.sweep(t)
		if open := f.checkLetters(t, 1); open[0].Job.ID != "vid_2" {
			t.Errorf("dead letters %+v, want only that of vid_2", open)
		}
	}
}

func TestRerunOfGivenUpLinkTriesThatLink(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	var fixed atomic.Bool
	var asked atomic.Int32
	f.serve = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/new.mp4" {
			if asked.Add(1); !fixed.Load() {
				w.WriteHeader(http.StatusNotFound)
				return
			}
		}
		_, _ = io.WriteString(w, video+r.URL.Path)
	}
	f.completedAt(t, "30", "vid_1", "/old.mp4")
	f.work(t)
	f.renew(t)
	f.completedAt(t, "31", "vid_1", "/new.mp4")
	f.work(t)
	f.renew(t)
	older, err := tasks.DownloadMedia(tasks.KlingJob("vid_1"), "video", f.cdn.URL+"/old.mp4")
	testenv.NoError(t, err)
	for _, step := range []struct {
		name  string
		run   func() error
		asked int32
		path  string
		state store.DeadLetterState
	}{
		{"given up", func() error { return nil }, 1, "/old.mp4", store.DeadLetterDead},
		{"the older link's task", func() error {
			if err := f.inspector.DeleteTask(tasks.QueueMedia, older.ID); err != nil {
				return err
			}
			_, err := f.queue.Enqueue(t.Context(), older)
			return err
		}, 1, "/old.mp4", store.DeadLetterDead},
		{"still not there", func() error { _, err := f.inspector.RunAllArchivedTasks(tasks.QueueMedia); return err }, 2, "/old.mp4", store.DeadLetterDead},
		{"there", func() error {
			fixed.Store(true)
			_, err := f.inspector.RunAllArchivedTasks(tasks.QueueMedia)
			return err
		}, 3, "/new.mp4", store.DeadLetterDone},
	} {
		if err := step.run(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		f.workOn(t, tasks.QueueMedia)
		f.checkVideo(t, "vid_1", step.path)
		if n := asked.Load(); n != step.asked {
			t.Errorf("%s: the newest link was requested %d times, want %d", step.name, n, step.asked)
		}
		if diff := cmp.Diff(map[tasks.Kind][]store.DeadLetterState{tasks.KindMediaDownload: {step.state}}, f.letterStates(t)); diff != "" {
			t.Errorf("%s: dead letters (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestDeadLetterByOperatorKeepsEarlierAttempts(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	var busy atomic.Int32
	f.serve = func(w http.ResponseWriter, _ *http.Request) { busy.Add(1); w.WriteHeader(http.StatusTeapot) }
	f.completedAt(t, "30", "vid_1", "/v.mp4")
	f.work(t)
	f.checkMedia(t, "vid_1", store.MediaPending, "418")
	if n, err := f.inspector.ArchiveAllRetryTasks(tasks.QueueMedia); err != nil || n != 1 {
		t.Fatalf("archived %d, %v; want 1", n, err)
	}
	f.sweep(t)
	d := f.checkLetters(t, 1)[0]
	if len(d.Failures) != int(busy.Load()) || !strings.HasPrefix(d.Error, "archived by an operator") || !strings.Contains(d.Error, "418") || !strings.Contains(d.Failures[0].Error, "418") {
		t.Errorf("dead letter has %q and %+v, want the operator and the 418", d.Error, d.Failures)
	}
}

func TestLostLeaseAtLastAttemptEndsAsDeadLetter(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	task := f.deliverSeed(t, tasks.TypeCreated, "vid_1", "")
	testenv.NoError(t, f.inspector.DeleteTask(tasks.QueueEvents, task.ID))
	_, err := asynq.NewClientFromRedisClient(f.redis).EnqueueContext(t.Context(), asynq.NewTask(string(task.Kind), task.Payload),
		asynq.TaskID(task.ID), asynq.Queue(tasks.QueueEvents), asynq.MaxRetry(0))
	testenv.NoError(t, err)
	f.dieHolding(t, tasks.QueueEvents, task)
	testenv.NoError(t, f.worker.Start(t.Context()))
	f.eventually(t, "the task to be archived", func() bool {
		return f.state(t, task, tasks.QueueEvents).State == asynq.TaskStateArchived
	})
	f.worker.Shutdown()
	f.sweep(t)
	if d := f.checkLetters(t, 1)[0]; d.Error != "asynq: task lease expired" || len(d.Failures) != 1 || d.Failures[0].Attempt != 1 {
		t.Errorf("dead letter %+v, want the expired lease at attempt 1", d)
	}
}
