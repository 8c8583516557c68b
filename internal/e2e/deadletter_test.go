package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// shownLetter is what `klinghook deadletters list --json` prints of each.
type shownLetter struct {
	ID                 int64
	JobID              string `json:"job_id"`
	Kind, Error, State string
}

// list decodes what a command lists.
func list[T any](w *world, what string, args ...string) (rows []T) {
	w.t.Helper()
	out := w.mustRun(append([]string{what, "list", "--json"}, args...)...)
	testenv.NoError(w.t, json.Unmarshal([]byte(out), &rows))
	return rows
}

// awaitDeadLetters waits until there are this many dead letters.
func (w *world) awaitDeadLetters(n int) (letters []shownLetter) {
	w.t.Helper()
	w.await(fmt.Sprint(n, " dead letters"), func() (bool, string) {
		letters = list[shownLetter](w, "deadletters")
		return len(letters) == n, fmt.Sprintf("%+v", letters)
	})
	return letters
}

// goneUntil serves 410 until fixed is true.
func goneUntil(fixed *atomic.Bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !fixed.Load() {
			w.WriteHeader(http.StatusGone)
			return
		}
		_, _ = w.Write(file(r.URL.Path))
	}
}

// TestDeadLetterCommands lets downloads and a notification fail, selects their dead
// letters by every filter, and replays and discards them.
func TestDeadLetterCommands(t *testing.T) {
	t.Parallel()
	w := newFleet(t, "")
	var fixed atomic.Bool
	w.media.instead = goneUntil(&fixed)
	refusing := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusGone) }))
	t.Cleanup(refusing.Close)
	w.settings["KLINGHOOK_FORWARD_URLS"] = refusing.URL
	w.settings["KLINGHOOK_NOTIFY_EVENTS"] = failed
	base, _, _ := w.startAll()
	jobs := []string{"vid_1", "vid_2", "vid_3", "vid_4"}
	for _, job := range jobs {
		w.accept(base, completedWith(job, w.media.link(job+".mp4")))
	}
	w.accept(base, seed(failed, 30, "vid_5", ""))
	ids := map[string]string{}
	for _, d := range w.awaitDeadLetters(5) {
		ids[d.JobID] = strconv.FormatInt(d.ID, 10)
	}
	for filter, want := range map[string]int{
		"": 5, "--job vid_2": 1, "--kind notify:send": 1, "--kind media:download": 4, "--error 410": 5, "--error timeout": 0,
		"--since 1h": 5, "--before 1h": 0, "--since 2024-01-31T12:00:00Z": 5, "--job vid_2 --kind notify:send": 0, "--limit 2": 2,
	} {
		if got := len(list[shownLetter](w, "deadletters", strings.Fields(filter)...)); got != want {
			t.Errorf("deadletters list %s: %d, want %d", filter, got, want)
		}
	}

	fixed.Store(true)
	for _, step := range []struct{ args, want string }{
		{"replay --job vid_1 --kind media:download", "1 dead letters replayed\n"},
		{"replay " + ids["vid_2"], "1 dead letters replayed\n"},
		{"replay " + ids["vid_2"], "0 dead letters replayed\n"},
		{"discard --error 410 --kind notify:send", "1 dead letters discarded\n"},
		{"replay --since 1h --all", ""},
		{"replay --all", "2 dead letters replayed\n"},
		{"replay --all", "0 dead letters replayed\n"},
		{"replay 4711", ""},
	} {
		out, err := w.run(append([]string{"deadletters"}, strings.Fields(step.args)...)...)
		if wantErr := step.want == ""; (err != nil) != wantErr || !wantErr && out != step.want {
			t.Errorf("deadletters %s printed %q, %v; want %q", step.args, out, err, step.want)
		}
	}
	for _, job := range jobs {
		w.awaitJob(job, "video stored")
	}
	var states []string
	for _, d := range list[shownLetter](w, "deadletters", "--ended") {
		states = append(states, d.State)
	}
	slices.Sort(states)
	if want := []string{"discarded", "replayed", "replayed", "replayed", "replayed"}; !slices.Equal(states, want) {
		t.Errorf("dead letters are %q, want %q", states, want)
	}
}
