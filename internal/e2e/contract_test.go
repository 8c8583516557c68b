package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// seed returns an event of a job, at a minute, with more fields in data.
func seed(kind string, minute int, job, more string) event {
	return seedEvent(fmt.Sprintf(`{"event":%q,"timestamp":"2025-01-15T10:%02d:00Z","data":{"job_id":%q,"prompt":"a cat","model":"kling-v1.5"%s}}`, kind, minute, job, more))
}

// completedWith returns the completion of a job, with a link to its video.
func completedWith(job, link string) event {
	return seed(completed, 30, job, `,"status":"completed","video_url":"`+link+`"`)
}

// deliveries are the events of several jobs, in both protocols.
func (w *world) deliveries() []event {
	link := w.media.link
	return []event{
		seed(created, 25, "vid_abc123", ""),
		seed(processing, 26, "vid_abc123", `,"progress":30`),
		seed(processing, 28, "vid_abc123", `,"progress":80`),
		seed(completed, 30, "vid_abc123", `,"status":"completed","duration":5,"video_url":"`+link("a.mp4")+`","thumbnail_url":"`+link("a.jpg")+`"`),
		seed(created, 25, "vid/../failed", ""),
		seed(failed, 27, "vid/../failed", `,"error":"content policy"`),
		seed(cancelled, 27, "vid_cancelled", ""),
		seed("video.upscaled", 31, "vid_abc123", ""),
		officialEvent("msg_1", `{"id":"881","status":"submitted","create_time":1736936700000,"update_time":1736936700000,"outputs":[]}`),
		officialEvent("msg_2", `{"id":"881","status":"succeeded","update_time":1736937000000,"outputs":[{"type":"video","id":"1","url":"`+link("b.mp4")+`","duration":"5.041"},{"type":"video","id":"2","url":"`+link("c.mp4")+`","duration":"5.041"}]}`),
		officialEvent("msg_3", `{"task_id":"882","task_status":"failed","task_status_msg":"risk control","updated_at":1736937000000}`),
	}
}

// deliver sends everything three times, in random order, and one forgery.
func (w *world) deliver(base string) {
	w.t.Helper()
	all := slices.Repeat(w.deliveries(), 3)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, e := range all {
		w.accept(base, e)
	}
	forged := seed(failed, 59, "vid_abc123", "")
	status, answer, err := forged.post(w.t.Context(), http.DefaultClient, base, " forged")
	if err != nil || status != http.StatusUnauthorized || answer != `{"error": "Invalid signature"}` {
		w.t.Errorf("a forged delivery was answered %d %s, %v", status, answer, err)
	}
}

// shownJob is what `klinghook jobs show --json` prints.
type shownJob struct {
	Status          string
	Progress        *int
	Prompt, Error   string
	DurationSeconds float64 `json:"duration_seconds"`
	Media           []struct {
		Name, State, Object, SHA256 string
		Size                        int
	}
	Notifications []struct{ Type, State string }
	Events        []struct {
		Type        string
		ProcessedAt time.Time `json:"processed_at"`
	}
}

// showJob returns a job as the command prints it.
func showJob(t *testing.T, settings map[string]string, job string) (shown shownJob, err error) {
	t.Helper()
	out, err := run(t, settings, "jobs", "show", "--json", job)
	if err == nil {
		err = json.Unmarshal([]byte(out), &shown)
	}
	return shown, err
}

// summary returns a job as one line, to compare.
func (j shownJob) summary() string {
	var parts []string
	for _, m := range j.Media {
		parts = append(parts, m.Name+" "+m.State)
	}
	for _, n := range j.Notifications {
		parts = append(parts, n.Type+" "+n.State)
	}
	for _, ev := range j.Events {
		if ev.ProcessedAt.IsZero() {
			parts = append(parts, ev.Type+" unprocessed")
		}
	}
	return fmt.Sprintf("%s, %d events: %s", j.Status, len(j.Events), strings.Join(parts, ", "))
}

// check waits until every job of deliveries has ended, and checks all effects.
func (w *world) check() {
	w.t.Helper()
	jobs := map[string]shownJob{}
	for job, want := range map[string]string{
		"vid_abc123":    "completed, 5 events: thumbnail stored, video stored, video.completed sent",
		"vid/../failed": "failed, 2 events: video.failed sent",
		"vid_cancelled": "cancelled, 1 events: video.cancelled sent",
		"881":           "completed, 2 events: video stored, video-2 stored, video.completed sent",
		"882":           "failed, 1 events: video.failed sent",
	} {
		eventually(w.t, "job "+job, func() (bool, string) {
			shown, err := showJob(w.t, w.settings, job)
			jobs[job] = shown
			return err == nil && shown.summary() == want, fmt.Sprint(shown.summary(), err)
		})
	}
	if j := jobs["vid_abc123"]; j.Prompt != "a cat" || j.DurationSeconds != 5 || j.Progress == nil || *j.Progress != 100 {
		w.t.Errorf("job is %+v", j)
	}
	if j := jobs["882"]; j.Error != "risk control" {
		w.t.Errorf("job's error is %q", j.Error)
	}
	for object, path := range map[string]string{
		"vid_abc123/video.mp4": "/a.mp4", "vid_abc123/thumbnail.jpg": "/a.jpg", "881/video.mp4": "/b.mp4", "881/video-2.mp4": "/c.mp4",
	} {
		w.checkObject(jobs[filepath.Dir(object)], object, path)
	}
	want := map[string]int{
		"video.completed vid_abc123": 1, "video.failed vid/../failed": 1, "video.cancelled vid_cancelled": 1, "video.completed 881": 1, "video.failed 882": 1,
	}
	if got := w.receiver.got(); !maps.Equal(got, want) {
		w.t.Errorf("forwarded %v, want %v", got, want)
	}
}

// checkObject compares an object and its row with the file at a path.
func (w *world) checkObject(job shownJob, object, path string) {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join(w.bucket, object))
	if err != nil || !bytes.Equal(content, file(path)) {
		w.t.Errorf("object %s has %d bytes, %v; want the %d of %s", object, len(content), err, len(file(path)), path)
	}
	for _, m := range job.Media {
		if m.Object == object && m.SHA256 == digest(path) && m.Size == len(content) {
			return
		}
	}
	w.t.Errorf("no row of %s has its size and SHA-256: %+v", object, job.Media)
}

// databases returns the URL of a new database of each kind.
func databases() map[string]func(t *testing.T) string {
	return map[string]func(t *testing.T) string{
		"sqlite":   func(*testing.T) string { return "" }, // the world's own
		"postgres": func(t *testing.T) string { return testenv.Postgres(t) },
	}
}

// TestProgramsFulfilContract delivers events, in a fleet before a worker runs, and
// checks everything that comes of them.
func TestProgramsFulfilContract(t *testing.T) {
	for name, database := range databases() {
		for _, dev := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dev %t", name, dev), func(t *testing.T) {
				w := newWorld(t)
				if url := database(t); url != "" {
					w.settings["KLINGHOOK_DATABASE_URL"] = url
				}
				w.media.trouble = interrupted
				if dev {
					w.deliver(w.start(klinghook, "dev").url())
					w.check()
					return
				}
				w.settings["KLINGHOOK_REDIS_URL"] = testenv.Redis(t).URL()
				if _, err := run(t, w.settings, "worker"); err == nil || !strings.Contains(err.Error(), "klinghook migrate") {
					t.Errorf("a worker on an empty database: %v, want that it names the command", err)
				}
				w.migrate()
				w.deliver(w.start(ingestProgram).url())
				w.start(klinghook, "worker")
				w.check()
			})
		}
	}
}

// TestSpoolKeepsEventsWhileRedisIsDown kills Redis and ingest: deliveries answered
// with 200 take effect, and ingest without a spool refuses them.
func TestSpoolKeepsEventsWhileRedisIsDown(t *testing.T) {
	w := newFleet(t, "", testenv.WithAOF("always"))
	without := w.start(ingestProgram, "--no-spool").url()
	w.settings["KLINGHOOK_SPOOL_DIR"] = filepath.Join(w.dir, "spool")
	ingest := w.start(ingestProgram)
	base := ingest.url()
	w.accept(base, seed(created, 25, "vid_1", ""))
	w.redis.Kill()
	if status, _ := w.post(without, seed(processing, 26, "vid_1", `,"progress":10`)); status != http.StatusServiceUnavailable {
		t.Errorf("without Redis and spool: %d, want 503", status)
	}
	for _, e := range slices.Repeat([]event{
		seed(processing, 27, "vid_1", `,"progress":20`), seed(cancelled, 28, "vid_1", ""), seed(created, 25, "vid_2", ""),
	}, 2) {
		w.accept(base, e)
	}
	w.mustRun("jobs", "list")
	ingest.kill()
	w.accept(w.start(ingestProgram).url(), seed(created, 25, "vid_3", ""))
	w.redis.Restart()
	w.start(klinghook, "worker")
	w.awaitJob("vid_1", "cancelled, 3 events: video.cancelled sent")
	w.awaitJob("vid_2", "created, 1 events: ")
	w.awaitJob("vid_3", "created, 1 events: ")
}
