package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// shownLetter is what `klinghook deadletters list --json` prints of each.
type shownLetter struct {
	ID       int64
	Kind     string
	JobID    string `json:"job_id"`
	Error    string
	State    string
	EndedAt  time.Time `json:"ended_at"`
	Failures []struct{ Attempt int }
}

// deadLetters returns what the command lists.
func deadLetters(t *testing.T, settings map[string]string, args ...string) []shownLetter {
	t.Helper()
	out, err := run(t, settings, append([]string{"deadletters", "list", "--json"}, args...)...)
	var list []shownLetter
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// completedFrom is that a job was completed, with its video behind a link.
func (w *world) completedFrom(job, link string) request {
	return w.seed("video.completed", 30, job, `,"status":"completed","video_url":"`+link+`"`)
}

// plant is Redis, an empty database and settings for all programs, with media from
// the given server.
func plant(t *testing.T, w *world, serve http.HandlerFunc) (settings map[string]string, rdb *redis.Client, cdn string) {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	addr := testenv.Redis(t)
	rdb = redis.NewClient(&redis.Options{Addr: addr.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	settings = w.settings("sqlite:"+filepath.Join(t.TempDir(), "k.db"), t.TempDir())
	settings["KLINGHOOK_MEDIA_ALLOW"] = server.Listener.Addr().String()
	settings["KLINGHOOK_REDIS_URL"] = addr.URL()
	if _, err := run(t, settings, "migrate"); err != nil {
		t.Fatal(err)
	}
	return settings, rdb, server.URL
}

// TestDeadLetterCommands lets downloads and a message fail for good, chooses their
// dead letters by every filter, and replays and discards them.
func TestDeadLetterCommands(t *testing.T) {
	w := newWorld(t)
	var mended atomic.Bool
	settings, _, cdn := plant(t, w, func(rw http.ResponseWriter, r *http.Request) {
		if !mended.Load() {
			rw.WriteHeader(http.StatusGone)
			return
		}
		_, _ = rw.Write(file(r.URL.Path))
	})
	refusing := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusGone) }))
	t.Cleanup(refusing.Close)
	settings["KLINGHOOK_FORWARD_URLS"] = refusing.URL
	settings["KLINGHOOK_NOTIFY_EVENTS"] = "video.failed"
	ingest, _ := start(t, "klinghook-ingest", settings), start(t, "klinghook", settings, "worker")
	base := "http://" + ingest.Address("webhooks")
	for _, job := range []string{"vid_1", "vid_2", "vid_3", "vid_4"} {
		w.post(base, w.completedFrom(job, cdn+"/"+job+".mp4"))
	}
	w.post(base, w.seed("video.failed", 30, "vid_5", ""))
	eventually(t, "the dead letters", func() (bool, string) {
		list := deadLetters(t, settings)
		return len(list) == 5, fmt.Sprintf("%+v", list)
	})
	ids := map[string]string{}
	for _, d := range deadLetters(t, settings) {
		ids[d.JobID] = strconv.FormatInt(d.ID, 10)
	}
	for _, tt := range []struct {
		name string
		args []string
		want int
	}{
		{"all", nil, 5},
		{"job", []string{"--job", "vid_2"}, 1},
		{"kind", []string{"--kind", "notify:send"}, 1},
		{"other kind", []string{"--kind", "media:download"}, 4},
		{"error", []string{"--error", "410"}, 5},
		{"other error", []string{"--error", "timeout"}, 0},
		{"since", []string{"--since", "1h"}, 5},
		{"before", []string{"--before", "1h"}, 0},
		{"since a time", []string{"--since", "2024-01-31T12:00:00Z"}, 5},
		{"job and kind", []string{"--job", "vid_2", "--kind", "notify:send"}, 0},
		{"limit", []string{"--limit", "2"}, 2},
	} {
		if got := len(deadLetters(t, settings, tt.args...)); got != tt.want {
			t.Errorf("list by %s: %d, want %d", tt.name, got, tt.want)
		}
	}

	mended.Store(true)
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"replay", "--job", "vid_1", "--kind", "media:download"}, "1 dead letters replayed\n"},
		{[]string{"replay", ids["vid_2"]}, "1 dead letters replayed\n"},
		{[]string{"replay", ids["vid_2"]}, "0 dead letters replayed\n"},
		{[]string{"discard", "--error", "410", "--kind", "notify:send"}, "1 dead letters discarded\n"},
		{[]string{"replay", "--since", "1h", "--all"}, ""},
		{[]string{"replay", "--all"}, "2 dead letters replayed\n"},
		{[]string{"replay", "--all"}, "0 dead letters replayed\n"},
		{[]string{"replay", "4711"}, ""},
	} {
		out, err := run(t, settings, append([]string{"deadletters"}, step.args...)...)
		if wantErr := step.want == ""; (err != nil) != wantErr || !wantErr && out != step.want {
			t.Errorf("%q printed %q, %v; want %q", step.args, out, err, step.want)
		}
	}
	for _, job := range []string{"vid_1", "vid_2", "vid_3", "vid_4"} {
		eventually(t, job, func() (bool, string) {
			shown, err := showJob(t, settings, job)
			return err == nil && strings.Contains(shown.summary(), "video stored"), fmt.Sprint(shown.summary(), err)
		})
	}
	var states []string
	for _, d := range deadLetters(t, settings, "--ended") {
		states = append(states, d.State)
	}
	slices.Sort(states)
	if want := []string{"discarded", "replayed", "replayed", "replayed", "replayed"}; !slices.Equal(states, want) {
		t.Errorf("dead letters are %q, want %q", states, want)
	}
}

// TestPoison holds that a task which kills the worker at every attempt ends as a
// dead letter, and takes nothing else with it. That a while has passed, after which
// a dead worker's lease counts no more, is set in Redis.
func TestPoison(t *testing.T) {
	const attempts = 2
	w := newWorld(t)
	asked := make(chan struct{}, attempts+1)
	hang := make(chan struct{})
	defer close(hang)
	settings, rdb, cdn := plant(t, w, func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "poison") {
			asked <- struct{}{}
			<-hang
			return
		}
		_, _ = rw.Write(file(r.URL.Path))
	})
	poison, err := tasks.DownloadMedia("vid_poison", "video", cdn+"/poison.mp4")
	if err != nil {
		t.Fatal(err)
	}
	// It has fewer attempts than usual; the event's own enqueuing finds it there.
	_, err = asynq.NewClientFromRedisClient(rdb).EnqueueContext(t.Context(), asynq.NewTask(string(poison.Kind), poison.Payload),
		asynq.TaskID(poison.ID), asynq.Queue(tasks.QueueMedia), asynq.MaxRetry(attempts-1), asynq.ProcessIn(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ingest := start(t, "klinghook-ingest", settings)
	base := "http://" + ingest.Address("webhooks")
	w.post(base, w.completedFrom("vid_poison", cdn+"/poison.mp4"))
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	for attempt := range attempts {
		worker := start(t, "klinghook", settings, "worker")
		if attempt == 0 {
			eventually(t, "the event to be recorded", func() (bool, string) {
				shown, err := showJob(t, settings, "vid_poison")
				return err == nil, shown.summary()
			})
			if err := inspector.RunTask(tasks.QueueMedia, poison.ID); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-asked:
		case <-time.After(patience):
			t.Fatalf("attempt %d does not begin", attempt+1)
		}
		worker.Kill()
		expire(t, rdb, poison)
	}
	worker := start(t, "klinghook", settings, "worker")
	eventually(t, "the poison to be archived", func() (bool, string) {
		info, err := inspector.GetTaskInfo(tasks.QueueMedia, poison.ID)
		return err == nil && info.State == asynq.TaskStateArchived, fmt.Sprint(info, err)
	})
	worker.Stop()
	w.post(base, w.completedFrom("vid_good", cdn+"/good.mp4"))
	expire(t, rdb, poison)
	start(t, "klinghook", settings, "worker")
	eventually(t, "the dead letter", func() (bool, string) {
		list := deadLetters(t, settings)
		return len(list) == 1 && list[0].JobID == "vid_poison" && list[0].State == "dead" && strings.Contains(list[0].Error, "lease expired"), fmt.Sprintf("%+v", list)
	})
	eventually(t, "the other job", func() (bool, string) {
		shown, err := showJob(t, settings, "vid_good")
		return err == nil && strings.Contains(shown.summary(), "video stored"), fmt.Sprint(shown.summary(), err)
	})
	if shown, err := showJob(t, settings, "vid_poison"); err != nil || !strings.Contains(shown.summary(), "video failed") {
		t.Errorf("the poisoned job is %s, %v; want that its video failed", shown.summary(), err)
	}
	if len(asked) != 0 {
		t.Errorf("the poison was taken %d times more", len(asked))
	}
}

// expire lets the time pass that a dead worker's lease, and its turn to sweep, are
// waited for.
func expire(t *testing.T, rdb *redis.Client, task tasks.Task) {
	t.Helper()
	pipe := rdb.TxPipeline()
	pipe.ZAddXX(t.Context(), "asynq:{media}:lease", redis.Z{Score: float64(time.Now().Add(-time.Hour).Unix()), Member: task.ID})
	pipe.Del(t.Context(), "klinghook:sweep")
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestHangingReceiver holds that a receiver which never answers costs an attempt and
// not the message, and holds up nothing else.
func TestHangingReceiver(t *testing.T) {
	w := newWorld(t)
	settings, _, cdn := plant(t, w, func(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write(file(r.URL.Path)) })
	var asked atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if asked.Add(1) == 1 {
			<-r.Context().Done() // until the sender gives up
		}
	}))
	t.Cleanup(receiver.Close)
	settings["KLINGHOOK_FORWARD_URLS"] = receiver.URL + "," + w.receiver.URL
	ingest, _ := start(t, "klinghook-ingest", settings), start(t, "klinghook", settings, "worker")
	w.post("http://"+ingest.Address("webhooks"), w.completedFrom("vid_1", cdn+"/a.mp4"))
	eventually(t, "both messages and the file", func() (bool, string) {
		shown, err := showJob(t, settings, "vid_1")
		return err == nil && shown.summary() == "completed, 1 events: video stored, video.completed sent, video.completed sent", fmt.Sprint(shown.summary(), err)
	})
	if n := asked.Load(); n != 2 {
		t.Errorf("the receiver was asked %d times, want once more after it hung", n)
	}
}
