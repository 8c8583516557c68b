package worker_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

func (f *fixture) eraser() *worker.Eraser {
	return &worker.Eraser{Redis: f.redis, Store: f.store, Bucket: f.cfg.Bucket, EventShards: 1, Now: time.Now}
}

// checkErased checks that nothing of a job is in the store, the bucket and the queue.
func (f *fixture) checkErased(t *testing.T, id string) {
	t.Helper()
	job := tasks.KlingJob(id)
	events, err := f.store.Events(t.Context(), store.EventFilter{Job: job})
	testenv.NoError(t, err)
	files, err := f.store.MediaOf(t.Context(), job)
	testenv.NoError(t, err)
	notifications, err := f.store.NotificationsOf(t.Context(), job)
	testenv.NoError(t, err)
	letters, err := f.store.DeadLetters(t.Context(), store.DeadLetterFilter{Job: job, Ended: true})
	testenv.NoError(t, err)
	if n := len(events) + len(files) + len(notifications) + len(letters); n > 0 {
		t.Errorf("%d rows of %s are left: %v %v %v %v", n, id, events, files, notifications, letters)
	}
	f.checkJob(t, id, "")
	if _, err := os.Stat(filepath.Join(f.bucket, id)); err == nil {
		t.Errorf("the folder of %s is left", id)
	}
	if left := f.tasksAbout(t, id); len(left) > 0 {
		t.Errorf("tasks of %s are left: %q", id, left)
	}
}

// tasksAbout returns the tasks with an id in their payload, in any state. It lists the states
// in the order in which a task passes through them, so that it misses none on its way.
func (f *fixture) tasksAbout(t *testing.T, id string) (found []string) {
	t.Helper()
	queues, err := f.inspector.Queues()
	testenv.NoError(t, err)
	for _, queue := range queues {
		for _, list := range []func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
			f.inspector.ListActiveTasks, f.inspector.ListRetryTasks, f.inspector.ListPendingTasks, f.inspector.ListActiveTasks,
			f.inspector.ListArchivedTasks, f.inspector.ListCompletedTasks,
		} {
			page, err := list(queue)
			testenv.NoError(t, err)
			for _, task := range page {
				if strings.Contains(string(task.Payload), id) {
					found = append(found, task.ID)
				}
			}
		}
	}
	return found
}

func TestEraseLeavesNothingOfAJobAndLaterEventsDoNotBringItBack(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		for _, job := range []string{"vid_1", "other"} {
			f.completedAt(t, "30", job, "/v.mp4")
		}
		f.work(t)
		events, err := f.store.Events(t.Context(), store.EventFilter{Job: tasks.KlingJob("vid_1")})
		testenv.NoError(t, err)
		testenv.NoError(t, tasks.NoteRepeat(t.Context(), f.redis, events[0].ID, time.Now()))
		n, err := f.eraser().Erase(t.Context(), tasks.KlingJob("vid_1"))
		testenv.NoError(t, err)
		want := worker.Erased{Tasks: 3, Objects: 1, ErasedRows: store.ErasedRows{Events: 1, Notifications: 1}}
		if n != want {
			t.Errorf("deleted %+v, want %+v", n, want)
		}
		if repeats, err := tasks.RepeatsOf(t.Context(), f.redis, []string{events[0].ID}); err != nil || len(repeats) > 0 {
			t.Errorf("repeats %v, %v; want none", repeats, err)
		}
		f.renew(t)
		f.completedAt(t, "31", "vid_1", "/v.mp4")
		f.deliverSeed(t, "video.upscaled", "vid_1", "")
		f.work(t)
		f.sweep(t)
		if _, err := f.store.Track(t.Context(), tasks.KlingJob("vid_1"), tasks.Metadata{}, time.Now()); err == nil {
			t.Error("the job can be tracked")
		}
		n, err = f.eraser().Erase(t.Context(), tasks.KlingJob("vid_1"))
		if err != nil || n != (worker.Erased{}) {
			t.Errorf("deleted again: %+v, %v; want nothing", n, err)
		}
		f.checkErased(t, "vid_1")
		f.checkMedia(t, "other", store.MediaStored, "")
		f.checkLetters(t, 0)
	})
}

func TestSweepContinuesAnInterruptedDeletion(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.completedAt(t, "30", "vid_1", "/v.mp4")
	f.work(t)
	f.completedAt(t, "31", "vid_1", "/other.mp4") // not yet recorded
	testenv.NoError(t, f.store.BeginErasure(t.Context(), tasks.KlingJob("vid_1"), time.Now()))
	f.sweep(t)
	f.checkErased(t, "vid_1")
	for _, later := range []time.Duration{3 * time.Minute, 2 * time.Hour} { // deletes what running tasks wrote since
		testenv.NoError(t, os.MkdirAll(filepath.Join(f.bucket, "vid_1"), 0o700))
		f.cfg.Now = func() time.Time { return time.Now().Add(later) }
		f.renew(t)
		f.sweep(t)
		f.checkErased(t, "vid_1")
	}
	due, err := f.store.DueErasures(t.Context(), time.Now().Add(24*time.Hour), 10)
	if err != nil || len(due) > 0 {
		t.Errorf("still due: %v, %v", due, err)
	}
}

func TestRunningDownloadOfADeletedJobPublishesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	arrived, release := make(chan struct{}), make(chan struct{})
	arrive := sync.OnceFunc(func() { close(arrived) })
	f.serve = func(w http.ResponseWriter, _ *http.Request) {
		arrive() // again if the deletion cancels the first attempt
		<-release
		_, _ = w.Write([]byte(video))
	}
	f.completedAt(t, "30", "vid_1", "/v.mp4")
	f.start(t)
	<-arrived
	_, err := f.eraser().Erase(t.Context(), tasks.KlingJob("vid_1"))
	testenv.NoError(t, err)
	close(release)
	f.eventually(t, "the download to end", func() bool { return len(f.tasksAbout(t, "vid_1")) == 0 })
	f.checkErased(t, "vid_1")
	f.checkLetters(t, 0)
}
