package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/tasks"
)

// await waits for a request.
func await(t *testing.T, asked <-chan struct{}) {
	t.Helper()
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatal("no download begins")
	}
}

// slowDownload starts ingest and a worker, which downloads vid_1's video; the rest of
// the file comes after release.
func slowDownload(t *testing.T, grace string) (w *world, base string, worker *service, release func()) {
	t.Helper()
	w = newFleet(t, "")
	asked, released := make(chan struct{}, 16), make(chan struct{})
	w.media.instead = func(rw http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-released:
			_, _ = rw.Write(file(r.URL.Path))
		case <-r.Context().Done():
		}
	}
	release = sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	w.settings["KLINGHOOK_GRACE"] = grace
	base, _, worker = w.startAll()
	w.accept(base, completedWith("vid_1", w.media.link("a.mp4")))
	await(t, asked)
	return w, base, worker, release
}

func TestStoppingWorkerFinishesItsTasksAndTakesNoMore(t *testing.T) {
	w, base, worker, release := slowDownload(t, "1m")
	worker.signal()
	inspector := asynq.NewInspectorFromRedisClient(w.rdb)
	eventually(t, "the worker to stop taking tasks", func() (bool, string) {
		servers, err := inspector.Servers()
		for _, server := range servers {
			if server.Status == "active" {
				return false, fmt.Sprint(server)
			}
		}
		return err == nil, fmt.Sprint(err)
	})
	w.accept(base, completedWith("vid_2", w.media.link("b.mp4")))
	release()
	if err := worker.wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	w.awaitJob("vid_1", "video stored")
	info, err := inspector.GetQueueInfo(tasks.QueueEvents)
	if err != nil || info.Pending != 1 {
		t.Errorf("%d events pending, %v; want 1", info.Pending, err)
	}
}

func TestTaskThatOutlastsGraceRunsAgain(t *testing.T) {
	w, _, worker, release := slowDownload(t, "1s")
	worker.stop()
	pending, err := asynq.NewInspectorFromRedisClient(w.rdb).ListPendingTasks(tasks.QueueMedia)
	if err != nil || len(pending) != 1 || pending[0].Retried != 0 || pending[0].LastErr != "" {
		t.Fatalf("pending are %+v, %v; want the download without an attempt", pending, err)
	}
	release()
	w.start(klinghook, "worker")
	w.awaitJob("vid_1", "video stored")
}

func TestSecondSignalEndsWorkerAtOnce(t *testing.T) {
	w, _, worker, _ := slowDownload(t, "1h")
	worker.signal()
	worker.signal()
	if err := worker.wait(); err == nil {
		t.Error("the worker ended with exit code 0, although a task was not done")
	}
	// The task runs again when its lease has expired.
	info, err := asynq.NewInspectorFromRedisClient(w.rdb).GetQueueInfo(tasks.QueueMedia)
	if err != nil || info.Active != 1 {
		t.Errorf("%d downloads active, %v; want 1", info.Active, err)
	}
}

func TestDownloadsWaitForFailingBucket(t *testing.T) {
	w := newFleet(t, "")
	// A file with the name of the job's folder.
	obstacle := filepath.Join(w.bucket, "vid_1")
	noError(t, os.WriteFile(obstacle, nil, 0o600))
	base, _, _ := w.startAll()
	w.accept(base, completedWith("vid_1", w.media.link("a.mp4")))
	inspector := asynq.NewInspectorFromRedisClient(w.rdb)
	eventually(t, "a second attempt to fail", func() (bool, string) {
		retry, err := inspector.ListRetryTasks(tasks.QueueMedia)
		return err == nil && len(retry) == 1 && retry[0].Retried >= 2, fmt.Sprint(retry, err)
	})
	noError(t, os.Remove(obstacle))
	w.awaitJob("vid_1", "video stored")
	shown, err := showJob(t, w.settings, "vid_1")
	noError(t, err)
	w.checkObject(shown, "vid_1/video.mp4", "/a.mp4")
	w.awaitDeadLetters(0)
}
