package worker_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

func TestShutdownPutsRunningTaskBackWithoutAnAttempt(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		started := make(chan struct{})
		f.serve = func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, video)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			close(started)
			<-r.Context().Done()
		}
		f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4"`)
		testenv.NoError(t, f.worker.Start(t.Context()))
		<-started
		f.worker.Shutdown()
		task, err := tasks.DownloadMedia(tasks.KlingJob("vid_1"), "video", f.cdn.URL+"/v.mp4")
		testenv.NoError(t, err)
		if info := f.state(t, task, tasks.QueueMedia); info.State != asynq.TaskStatePending || info.Retried != 0 {
			t.Errorf("task is %s after %d retries, want pending after none", info.State, info.Retried)
		}
		if _, err := os.Stat(filepath.Join(f.bucket, "vid_1", "video.mp4")); !os.IsNotExist(err) {
			t.Errorf("the object of an interrupted download: %v, want that it does not exist", err)
		}
	})
}

func TestShutdownLetsTasksFinish(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Minute)
	started, release := holdMedia(f)
	f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4"`)
	testenv.NoError(t, f.worker.Start(t.Context()))
	<-started
	stopped := make(chan struct{})
	go func() { f.worker.Shutdown(); close(stopped) }()
	close(release)
	<-stopped
	f.checkMedia(t, "vid_1", store.MediaStored, "")
}

// blockedKling does not answer until it is released, even if the context ends.
type blockedKling struct {
	asked, release chan struct{}
}

func (k *blockedKling) Jobs(context.Context, ...string) ([]kling.Answer, error) {
	k.asked <- struct{}{}
	<-k.release
	return nil, nil
}

func (k *blockedKling) Job(context.Context, string, ...kling.JobKind) (kling.Answer, error) {
	return kling.Answer{}, kling.ErrNotFound
}

// newBlocked returns a worker whose look-ups do not end.
func newBlocked(t *testing.T, grace time.Duration) (*fixture, *blockedKling) {
	t.Helper()
	f := newFixture(t, miniredis.RunT(t).Addr(), grace)
	k := &blockedKling{asked: make(chan struct{}, 100), release: make(chan struct{})}
	f.cfg.Lookups = worker.Lookups{Kling: k, NewAPI: true}
	f.renew(t)
	_, err := f.store.Track(t.Context(), tasks.KlingJob("881"), tasks.Metadata{API: tasks.APITasks}, time.Now().Add(-time.Hour))
	testenv.NoError(t, err)
	return f, k
}

func TestShutdownStopsFetchingAndReturnsWithinGrace(t *testing.T) {
	t.Parallel()
	const grace = 2 * time.Second
	f, k := newBlocked(t, grace)
	t.Cleanup(func() { close(k.release) })
	testenv.NoError(t, f.worker.Start(t.Context()))
	<-k.asked
	late := make(chan tasks.Task, 1)
	time.AfterFunc(grace/2, func() { late <- f.deliverSeed(t, tasks.TypeCreated, "vid_1", "") })
	start := time.Now()
	f.worker.Shutdown()
	if took := time.Since(start); took > grace+500*time.Millisecond {
		t.Errorf("shutdown took %v, want %v at most", took, grace)
	}
	if info := f.state(t, <-late, tasks.QueueEvents); info.State != asynq.TaskStatePending {
		t.Errorf("a task that came during the shutdown is %s, want pending", info.State)
	}
}

func TestShutdownIsSafeWithoutAStartAndTwice(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.worker.Shutdown()
	testenv.NoError(t, f.worker.Start(t.Context()))
	if err := f.worker.Start(t.Context()); err == nil {
		t.Error("a second start succeeded")
	}
	f.worker.Shutdown()
	f.worker.Shutdown()
	if err := f.worker.Start(t.Context()); err == nil {
		t.Error("a start after the shutdown succeeded")
	}
	f.worker.Shutdown()
}

func TestLookupRoundsDoNotOverlap(t *testing.T) {
	f, k := newBlocked(t, 10*time.Second)
	testenv.NoError(t, f.worker.Start(t.Context()))
	<-k.asked
	looked := make(chan error, 3)
	for range cap(looked) {
		go func() { looked <- f.worker.LookUp(t.Context()) }()
	}
	select {
	case <-k.asked:
		t.Error("two rounds ask Kling at once")
	case <-time.After(200 * time.Millisecond):
	}
	close(k.release)
	for range cap(looked) {
		if err := <-looked; err != nil {
			t.Error(err)
		}
	}
	f.worker.Shutdown()
}
