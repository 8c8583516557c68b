package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// TestSpool holds that deliveries which were answered with 200 while Redis was
// away take effect, also when ingest is killed before Redis is back; and that
// without a spool they are refused.
func TestSpool(t *testing.T) {
	w := newWorld(t)
	settings := w.settings("sqlite:"+filepath.Join(t.TempDir(), "k.db"), t.TempDir())
	redis := testenv.Redis(t, testenv.WithAOF("always"))
	settings["KLINGHOOK_REDIS_URL"] = redis.URL()
	if _, err := run(t, settings, "migrate"); err != nil {
		t.Fatal(err)
	}
	without := start(t, "klinghook-ingest", settings, "--no-spool")
	withoutURL := "http://" + without.Address("webhooks")
	settings["KLINGHOOK_SPOOL_DIR"] = filepath.Join(t.TempDir(), "spool")
	ingest := start(t, "klinghook-ingest", settings)
	base := "http://" + ingest.Address("webhooks")

	if status, answer := w.post(base, w.seed("video.created", 25, "vid_1", "")); status != http.StatusOK {
		t.Fatalf("with Redis: %d %s", status, answer)
	}
	redis.Kill()
	if status, _ := w.post(withoutURL, w.seed("video.processing", 26, "vid_1", `,"progress":10`)); status != http.StatusServiceUnavailable {
		t.Errorf("without Redis and without a spool: %d, want 503", status)
	}
	away := []request{
		w.seed("video.processing", 27, "vid_1", `,"progress":20`),
		w.seed("video.cancelled", 28, "vid_1", ""),
		w.seed("video.created", 25, "vid_2", ""),
	}
	for _, d := range append(away, away...) {
		if status, answer := w.post(base, d); status != http.StatusOK || answer != `{"received": true}` {
			t.Errorf("without Redis: %d %s, want 200", status, answer)
		}
	}
	if _, err := run(t, settings, "jobs", "list"); err != nil {
		t.Error(err)
	}
	ingest.Kill()
	ingest = start(t, "klinghook-ingest", settings)
	base = "http://" + ingest.Address("webhooks")
	if status, _ := w.post(base, w.seed("video.created", 25, "vid_3", "")); status != http.StatusOK {
		t.Errorf("without Redis, after a kill: %d, want 200", status)
	}
	redis.Restart()
	start(t, "klinghook", settings, "worker")
	for job, want := range map[string]string{
		"vid_1": "cancelled, 3 events: video.cancelled sent", "vid_2": "created, 1 events: ", "vid_3": "created, 1 events: ",
	} {
		eventually(t, "job "+job, func() (bool, string) {
			shown, err := showJob(t, settings, job)
			if err != nil {
				return false, err.Error()
			}
			return strings.TrimSpace(shown.summary()) == strings.TrimSpace(want), shown.summary()
		})
	}
}
