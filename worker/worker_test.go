package worker_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func TestEventsReachStoreBucketAndReceiver(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4?sig=1","prompt":"a cat"`)
		f.deliverSeed(t, tasks.TypeProcessing, "vid_1", `,"progress":40`)
		f.deliverSeed(t, tasks.TypeCreated, "vid_1", "")
		f.deliverSeed(t, "video.sparkled", "vid_1", "")
		f.deliverSeed(t, tasks.TypeFailed, "vid_2", `,"error":"no"`)
		f.deliver(t, "klingai-official", "msg_1", tasks.TypeCompleted, "task_3",
			`{"task_id":"task_3","task_status":"succeed","updated_at":1736937000000,"task_result":{"videos":[{"url":"`+f.cdn.URL+`/1.mp4","duration":"5.1"},{"url":"`+f.cdn.URL+`/2.mp4"}]}}`)
		f.work(t)

		for job, want := range map[string]tasks.Status{"vid_1": tasks.StatusCompleted, "vid_2": tasks.StatusFailed, "task_3": tasks.StatusCompleted} {
			f.checkJob(t, job, want)
		}
		for _, object := range []string{"vid_1/video.mp4", "task_3/video.mp4", "task_3/video-2.mp4"} {
			content, err := os.ReadFile(filepath.Join(f.bucket, object))
			if err != nil || string(content) != video {
				t.Errorf("object %s is %q, %v", object, content, err)
			}
		}
		unprocessed, err := f.store.Events(t.Context(), store.EventFilter{Unprocessed: true})
		if err != nil || len(unprocessed) != 0 {
			t.Errorf("%d events unprocessed, %v", len(unprocessed), err)
		}
		sent := f.sent()
		slices.Sort(sent)
		want := []string{"video.completed task_3", "video.completed vid_1", "video.failed vid_2"}
		if !slices.Equal(sent, want) {
			t.Errorf("sent %q, want %q", sent, want)
		}
	})
}

func TestEachAttemptHasOneLogLine(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	f.serve = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
	f.deliverSeed(t, tasks.TypeCompleted, "vid_1", `,"video_url":"`+f.cdn.URL+`/v.mp4?sig=hush"`)
	f.work(t)
	levels := map[string]zapcore.Level{}
	for _, entry := range f.logs.All() {
		fields := entry.ContextMap()
		kind, ok := fields["kind"].(string)
		if !ok {
			continue
		}
		if _, twice := levels[kind]; twice {
			t.Errorf("%s has more than one line", kind)
		}
		levels[kind] = entry.Level
		for _, key := range []string{"queue", "task_id", "attempt", "max_attempts", "duration"} {
			if _, ok := fields[key]; !ok {
				t.Errorf("line of %s has no %s", kind, key)
			}
		}
		if fields["job_id"] != "vid_1" || (kind == "event:record") != (fields["event_id"] != nil) {
			t.Errorf("line of %s is about job %v and event %v", kind, fields["job_id"], fields["event_id"])
		}
		if text, _ := fields["error"].(string); strings.Contains(text, "hush") {
			t.Errorf("line of %s has the link's query: %s", kind, text)
		}
	}
	want := map[string]zapcore.Level{"event:record": zap.InfoLevel, "media:download": zap.ErrorLevel, "notify:send": zap.InfoLevel}
	for kind, level := range want {
		if got, ok := levels[kind]; !ok || got != level {
			t.Errorf("%s is logged at %s (there: %t), want %s", kind, got, ok, level)
		}
	}
}

func TestUnknownProtocolIsRetried(t *testing.T) {
	f := newFixture(t, miniredis.RunT(t).Addr(), time.Second)
	task := f.deliver(t, "newer", "", "video.created", "vid_1", "{}")
	f.work(t)
	if info := f.state(t, task, tasks.QueueEvents); info.State != asynq.TaskStateRetry {
		t.Errorf("task is %s, want retry", info.State)
	}
}

func TestNewestWorkingLinkIsDownloaded(t *testing.T) {
	onRedis(t, func(t *testing.T, addr string) {
		f := newFixture(t, addr, time.Second)
		f.serve = func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/dead") {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			_, _ = io.WriteString(w, video+r.URL.Path)
		}
		f.completedAt(t, "30", "vid_1", "/good.mp4")
		f.completedAt(t, "31", "vid_1", "/dead.mp4")
		f.completedAt(t, "31", "vid_2", "/dead.mp4")
		f.completedAt(t, "30", "vid_2", "/good.mp4")
		f.completedAt(t, "31", "vid_3", "/dead.mp4")
		f.work(t)
		f.checkVideo(t, "vid_1", "/good.mp4")
		f.checkVideo(t, "vid_2", "/good.mp4")
		f.checkMedia(t, "vid_3", store.MediaFailed, "404")
	})
}
