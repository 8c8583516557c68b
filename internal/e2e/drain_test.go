package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/tasks"
)

func TestSecondSignalEndsWorkerAtOnce(t *testing.T) {
	w := newFleet(t, "")
	asked := make(chan struct{}, 16)
	w.media.instead = func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}
	w.settings["KLINGHOOK_GRACE"] = "1h"
	base, _, worker := w.startAll()
	w.accept(base, completedWith("vid_1", w.media.link("a.mp4")))
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatal("no download begins")
	}
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
