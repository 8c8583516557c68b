package e2e

import (
	"net/http"
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
