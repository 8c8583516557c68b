package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/tasks"
)

// slowVideo serves a video that is held back until released, and tells of each
// request.
func slowVideo() (serve http.HandlerFunc, asked <-chan string, release func()) {
	requests, released := make(chan string, 16), make(chan struct{})
	var done atomic.Bool
	return func(rw http.ResponseWriter, r *http.Request) {
			requests <- r.URL.Path
			select {
			case <-released:
				_, _ = rw.Write(file(r.URL.Path))
			case <-r.Context().Done():
			}
		}, requests, func() {
			if done.CompareAndSwap(false, true) {
				close(released)
			}
		}
}

// await waits for a request.
func await(t *testing.T, asked <-chan string) {
	t.Helper()
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatal("no download begins")
	}
}

// TestDrain holds that a worker which is asked to stop takes nothing new, and
// finishes what it has begun.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	serve, asked, release := slowVideo()
	defer release()
	settings, rdb, cdn := plant(t, w, serve)
	ingest, worker := start(t, "klinghook-ingest", settings), start(t, "klinghook", settings, "worker")
	base := "http://" + ingest.Address("webhooks")
	w.post(base, w.completedFrom("vid_1", cdn+"/a.mp4"))
	await(t, asked)
	worker.Signal(syscall.SIGTERM)
	worker.Logged("stopping")
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	eventually(t, "the worker's servers to stop taking tasks", func() (bool, string) {
		servers, err := inspector.Servers()
		for _, server := range servers {
			if server.Status == "active" {
				return false, fmt.Sprint(server)
			}
		}
		return err == nil, fmt.Sprint(err)
	})
	w.post(base, w.completedFrom("vid_2", cdn+"/b.mp4"))
	release()
	if err := worker.Wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	if shown, err := showJob(t, settings, "vid_1"); err != nil || !strings.Contains(shown.summary(), "video stored") {
		t.Errorf("vid_1 is %s, %v; want its video stored", shown.summary(), err)
	}
	info, err := inspector.GetQueueInfo(tasks.QueueEvents)
	if err != nil || info.Pending != 1 {
		t.Errorf("%d events pending, %v; want that the second was not taken", info.Pending, err)
	}
}

// TestGraceEnds holds that what outlasts the grace period goes back whole, and is
// done by the next worker.
func TestGraceEnds(t *testing.T) {
	w := newWorld(t)
	serve, asked, release := slowVideo()
	defer release()
	settings, rdb, cdn := plant(t, w, serve)
	settings["KLINGHOOK_GRACE"] = "1s"
	ingest, worker := start(t, "klinghook-ingest", settings), start(t, "klinghook", settings, "worker")
	w.post("http://"+ingest.Address("webhooks"), w.completedFrom("vid_1", cdn+"/a.mp4"))
	await(t, asked)
	worker.Stop()
	pending, err := asynq.NewInspectorFromRedisClient(rdb).ListPendingTasks(tasks.QueueMedia)
	if err != nil || len(pending) != 1 || pending[0].Retried != 0 || pending[0].LastErr != "" {
		t.Fatalf("pending are %+v, %v; want the download with no attempt counted", pending, err)
	}
	release()
	start(t, "klinghook", settings, "worker")
	eventually(t, "the job", func() (bool, string) {
		shown, err := showJob(t, settings, "vid_1")
		return err == nil && strings.Contains(shown.summary(), "video stored"), fmt.Sprint(shown.summary(), err)
	})
}

// TestSecondSignal holds that a second signal ends a worker at once.
func TestSecondSignal(t *testing.T) {
	w := newWorld(t)
	serve, asked, release := slowVideo()
	defer release()
	settings, rdb, cdn := plant(t, w, serve)
	settings["KLINGHOOK_GRACE"] = "1h"
	ingest, worker := start(t, "klinghook-ingest", settings), start(t, "klinghook", settings, "worker")
	w.post("http://"+ingest.Address("webhooks"), w.completedFrom("vid_1", cdn+"/a.mp4"))
	await(t, asked)
	worker.Signal(syscall.SIGTERM)
	worker.Logged("stopping")
	worker.Signal(syscall.SIGTERM)
	if err := worker.Wait(); err == nil {
		t.Error("the worker ended well although it broke off its work")
	}
	// It comes back as after a crash.
	info, err := asynq.NewInspectorFromRedisClient(rdb).GetQueueInfo(tasks.QueueMedia)
	if err != nil || info.Active != 1 {
		t.Errorf("%d downloads active, %v; want the one that was broken off, for its lease to expire", info.Active, err)
	}
}

// TestFailingBucket holds that downloads wait for a bucket that fails, and are done
// when it works again.
func TestFailingBucket(t *testing.T) {
	w := newWorld(t)
	settings, rdb, cdn := plant(t, w, func(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write(file(r.URL.Path)) })
	bucket := strings.TrimPrefix(settings["KLINGHOOK_BUCKET_URL"], "file://")
	// The job's folder cannot be made: a file has its name.
	inTheWay := filepath.Join(bucket, "vid_1")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ingest, _ := start(t, "klinghook-ingest", settings), start(t, "klinghook", settings, "worker")
	w.post("http://"+ingest.Address("webhooks"), w.completedFrom("vid_1", cdn+"/a.mp4"))
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	eventually(t, "a second attempt to fail", func() (bool, string) {
		retry, err := inspector.ListRetryTasks(tasks.QueueMedia)
		return err == nil && len(retry) == 1 && retry[0].Retried >= 2, fmt.Sprint(retry, err)
	})
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file", func() (bool, string) {
		content, err := os.ReadFile(filepath.Join(bucket, "vid_1", "video.mp4"))
		return err == nil && string(content) == string(file("/a.mp4")), fmt.Sprint(err)
	})
	if list := deadLetters(t, settings); len(list) != 0 {
		t.Errorf("dead letters %+v, want none", list)
	}
}
