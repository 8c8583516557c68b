package dashboard_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/admin/login"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// world is a dashboard with jobs.
type world struct {
	t      *testing.T
	cfg    dashboard.Config
	store  *store.Store
	files  *memoryBucket
	worker *fakeWorker
	// brokenStreams is how many requests for the stream get 502, as from a proxy.
	brokenStreams atomic.Int32
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, cfg: newConfig(t), files: &memoryBucket{}, worker: &fakeWorker{notified: 1}}
	w.store, w.worker.store, w.cfg.Bucket, w.cfg.Worker = w.cfg.Store, w.cfg.Store, w.files, w.worker
	w.cfg.Erase = func(ctx context.Context, job tasks.JobKey) error {
		w.worker.note("erase", job.ID)
		return nil
	}
	return w
}

// serve serves the dashboard on this machine, behind a login if there is a gate.
func (w *world) serve(gated bool) (site string) {
	w.t.Helper()
	stop := make(chan struct{})
	w.cfg.Stop = stop
	private := admin.Config{Live: http.NotFound, Ready: http.NotFound, Metrics: prometheus.NewRegistry(), Prefix: w.cfg.Prefix}
	if gated {
		gate := login.New(login.Config{
			Tokens: []string{operatorToken}, ViewerTokens: []string{viewerToken}, Prefix: w.cfg.Prefix, Redis: w.cfg.Redis, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(),
		})
		w.cfg.LogoutPath = w.cfg.Prefix + login.LogoutPath
		private.Login, private.Dashboard = gate, gate.Protect(dashboard.New(w.cfg))
	} else {
		private.Dashboard = dashboard.New(w.cfg)
	}
	handler := admin.Handler(private)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/stream") && w.brokenStreams.Add(-1) >= 0 {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		handler.ServeHTTP(rw, r)
	}))
	w.t.Cleanup(func() {
		close(stop)
		server.Close()
	})
	return server.URL
}

// hear records an event of a job, with a body that repeats what the update says.
func (w *world) hear(id, kind string, update tasks.JobUpdate, destinations ...string) {
	w.t.Helper()
	update.Job, update.OccurredAt = tasks.KlingJob(id), time.Now()
	body, err := json.Marshal(update)
	testenv.NoError(w.t, err)
	update.EventID = tasks.EventID("klingai", "", body)
	event := tasks.Event{ID: update.EventID, Source: "klingai", Type: kind, Job: update.Job, ReceivedAt: time.Now(), Body: body}
	_, err = w.store.Record(w.t.Context(), []store.Recording{{Event: event, Update: &update, Destinations: destinations}}, time.Now())
	testenv.NoError(w.t, err)
	testenv.NoError(w.t, w.store.MarkProcessed(w.t.Context(), []string{event.ID}, time.Now()))
}

// progress records that a job is being generated.
func (w *world) progress(id, prompt string, percent int) {
	w.t.Helper()
	w.hear(id, tasks.TypeProcessing, tasks.JobUpdate{Status: tasks.StatusProcessing, Progress: &percent, Prompt: prompt, Model: "kling-v2-1"})
}

// complete records that a job is completed and stores its video.
func (w *world) complete(id, prompt string) {
	w.t.Helper()
	video, err := os.ReadFile("../../../cmd/klinghook/sample/video.mp4")
	testenv.NoError(w.t, err)
	job := tasks.KlingJob(id)
	links := []tasks.MediaLink{{Name: "video", URL: "https://cdn.example/" + id + ".mp4?sig=5ecre7"}, {Name: "thumbnail", URL: "https://cdn.example/" + id + ".png?sig=5ecre7"}}
	w.hear(id, tasks.TypeCompleted, tasks.JobUpdate{
		Status: tasks.StatusCompleted, Prompt: prompt, Model: "kling-v2-1", Duration: 5 * time.Second, Media: links,
		CreatedAt: time.Now().Add(-75 * time.Second), FinishedAt: time.Now(),
		Costs: []tasks.Cost{{Amount: "0.28", Unit: "USD", Kind: "cash"}},
	}, "team-chat")
	for i, content := range [][]byte{video, poster(id)} {
		sum := sha256.Sum256(content)
		stored := store.Media{
			Job: job, Name: links[i].Name, URL: links[i].URL, Object: id + "/" + links[i].Name, Size: int64(len(content)),
			SHA256: hex.EncodeToString(sum[:]), ContentType: []string{"video/mp4", "image/png"}[i],
		}
		w.files.put(stored.Object, content)
		w.files.put("link of "+stored.Object, []byte("https://bucket.example/signed"))
		_, err = w.store.StoreMedia(w.t.Context(), stored, time.Now(), func() error { return nil })
		testenv.NoError(w.t, err)
		task, err := tasks.DownloadMedia(job, stored.Name, stored.URL)
		testenv.NoError(w.t, err)
		testenv.NoError(w.t, w.store.RecordAttempt(w.t.Context(), store.TaskAttempt{
			TaskID: task.ID, Number: 1, At: time.Now(), Duration: time.Duration(len(content)) * time.Millisecond / 3, Size: stored.Size,
		}))
	}
	sent, err := w.store.NotificationsOf(w.t.Context(), job)
	testenv.NoError(w.t, err)
	_, err = w.store.RecordAttempts(w.t.Context(), []store.SendAttempt{{NotificationID: sent[0].ID, Destination: "team-chat", At: time.Now(), Duration: 120 * time.Millisecond, Status: 200, Answer: "ok"}})
	testenv.NoError(w.t, err)
}

// fail records that a job failed.
func (w *world) fail(id, prompt, reason string) {
	w.t.Helper()
	w.hear(id, tasks.TypeFailed, tasks.JobUpdate{Status: tasks.StatusFailed, Prompt: prompt, Model: "kling-v2-1", Error: reason})
}

// bury gives up the download of a job's video.
func (w *world) bury(id, reason string) {
	w.t.Helper()
	job := tasks.KlingJob(id)
	w.hear(id, tasks.TypeCompleted, tasks.JobUpdate{Status: tasks.StatusCompleted, Prompt: "Sparks rise from a forge at night", Media: []tasks.MediaLink{{Name: "video", URL: "https://cdn.example/gone.mp4?sig=5ecre7"}}}, "team-chat")
	task, err := tasks.DownloadMedia(job, "video", "https://cdn.example/gone.mp4?sig=5ecre7")
	testenv.NoError(w.t, err)
	file, err := w.store.Medium(w.t.Context(), job, "video")
	testenv.NoError(w.t, err)
	_, err = w.store.MediaFailed(w.t.Context(), file, reason, time.Now())
	testenv.NoError(w.t, err)
	testenv.NoError(w.t, w.store.Bury(w.t.Context(), store.DeadLetter{
		Task: task, Job: job, Error: reason, FailedAt: time.Now(), Failures: []store.Failure{{Attempt: 1, At: time.Now().Add(-time.Minute), Error: "cdn.example answered 503"}},
	}))
}

// fill adds a page and more of jobs in all states.
func (w *world) fill() {
	w.t.Helper()
	prompts := []string{
		"A lighthouse at dawn, slow pan over calm water", "一只猫在雨中的东京街头行走，霓虹灯倒影", "Drone over terraced rice fields",
		"Macro shot of a dragonfly that dries its wings on a reed while mist lifts over the lake", "A paper boat drifts down a gutter after rain",
	}
	for i := range 26 {
		w.complete(fmt.Sprintf("vid_%02d", i), prompts[i%len(prompts)])
	}
	w.fail("vid_failed", "A watchmaker opens a pocket watch, gears in close-up", "the prompt was refused by the content check")
	w.complete("vid_new", prompts[2])
	w.bury("vid_gone", "cdn.example answered 404")
	w.progress("vid_busy", "Rain on a tin roof, a dog asleep below", 40)
}

// poster returns a picture in PNG for a job's card.
func poster(seed string) []byte {
	palettes := [][2][3]int{{{27, 42, 73}, {242, 166, 90}}, {{15, 61, 62}, {226, 220, 200}}, {{45, 30, 47}, {224, 122, 95}}, {{34, 87, 122}, {128, 200, 160}}, {{60, 70, 90}, {230, 230, 240}}}
	palette := palettes[sha256.Sum256([]byte(seed))[0]%5]
	picture := image.NewRGBA(image.Rect(0, 0, 320, 180))
	for y := range 180 {
		for x := range 320 {
			part := (y*2 + x/4) * 255 / 440
			mixed := func(i int) uint8 { return uint8((palette[0][i]*(255-part) + palette[1][i]*part) / 255) }
			picture.Set(x, y, color.RGBA{mixed(0), mixed(1), mixed(2), 255})
		}
	}
	var out bytes.Buffer
	_ = png.Encode(&out, picture) // into memory
	return out.Bytes()
}
