package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
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

// deliver makes up jobs in both protocols and sends their events three times, in random
// order, and a forgery.
func (w *world) deliver(base string) {
	w.t.Helper()
	const jobs = 40
	w.sender.targets = []string{base}
	var all []*event
	for range jobs {
		for _, e := range w.script.job() {
			all = append(all, &e, &e, &e)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, e := range all {
		if !w.sender.post(w.ctx, e) {
			w.t.Fatalf("%s was refused", e.body)
		}
	}
	w.sender.forge(w.ctx, all[0])
}

// check waits until all work is done, and checks all effects.
func (w *world) check() {
	w.t.Helper()
	w.openStore()
	w.settle()
	w.reconcile()
}

// shownJob is what `klinghook jobs show --json` prints.
type shownJob struct {
	Status        string
	Media         []struct{ Name, State string }
	Notifications []struct{ Type, State string }
	Events        []struct {
		Type        string
		ProcessedAt time.Time `json:"processed_at"`
	}
}

// showJob returns a job as the command prints it.
func (w *world) showJob(job string) (shown shownJob, err error) {
	w.t.Helper()
	out, err := w.run("jobs", "show", "--json", job)
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
	t.Parallel()
	for name, database := range databases() {
		for _, dev := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dev %t", name, dev), func(t *testing.T) {
				t.Parallel()
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
				w.openRedis()
				if _, err := w.run("worker"); err == nil || !strings.Contains(err.Error(), "klinghook migrate") {
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
	t.Parallel()
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
