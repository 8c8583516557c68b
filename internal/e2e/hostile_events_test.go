package e2e

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/testenv"
)

// oddEvent is a signed delivery such as no honest sender makes.
type oddEvent struct {
	name string
	request
	// want is the answer's status.
	want int
	// job is the id of the job that is to come of it; empty for none.
	job string
}

// signed is a delivery of the seed protocol with any body.
func signed(body string) request {
	return request{"/webhooks/klingai", map[string]string{"X-Kling-Signature": "sha256=" + hex.EncodeToString(mac(signingSecret, body))}, body}
}

// oddEvents returns odd deliveries of both protocols.
func (w *world) oddEvents() []oddEvent {
	return slices.Concat(oddBodies(), oddTimes(), oddLinks(), w.oddCallbacks())
}

func oddBodies() []oddEvent {
	created := func(name, job, jobJSON string) oddEvent {
		return oddEvent{name, signed(`{"event":"video.created","data":{"job_id":` + jobJSON + `}}`), 200, job}
	}
	refused := func(name, body string) oddEvent { return oddEvent{name, signed(body), 400, ""} }
	plain := `{"event":"video.created","data":{"job_id":"plain"}}`
	nested := func(depth int) string {
		return `{"event":"video.created","data":{"job_id":"deep","more":` + strings.Repeat(`[`, depth) + strings.Repeat(`]`, depth) + `}}`
	}
	return []oddEvent{
		created("slashes", "../../etc/passwd", `"..\/..\/etc/passwd"`),
		created("backslashes", `..\..\a`, `"..\\..\\a"`),
		created("dots", "..", `".."`),
		created("percent", "%2e%2e%2f%00", `"%2e%2e%2f%00"`),
		created("quotes", `'; DROP TABLE jobs; --"`, `"'; DROP TABLE jobs; --\""`),
		created("wildcards", `%_*?`, `"%_*?"`),
		created("other alphabets", "видео/视频/🎬", `"видео/视频/\ud83c\udfac"`),
		created("as long as may be", strings.Repeat("/", 256), `"`+strings.Repeat("/", 256)+`"`),
		created("number past float64", "1e999", `1e999`),
		created("negative zero", "-0.0", `-0.0`),
		created("key in escapes", "escaped", `"escaped","\u006aob_id2":1`),
		created("keys twice", "second", `"first","job_id":"second"`),
		{"data twice", signed(`{"event":"video.failed","event":"video.created","data":1,"data":{"job_id":"twice"}}`), 200, "twice"},
		{"text that is not UTF-8", signed("{\"event\":\"video.failed\",\"data\":{\"job_id\":\"bytes\",\"prompt\":\"\xff\xfe\\u0000\\ud800\",\"error\":\"\x80\"}}"), 200, "bytes"},
		{"NUL in every text", signed(`{"event":"video.failed","data":{"job_id":"nul","prompt":"a\u0000b","model":"\u0000","error":{"message":"\u0000","code":"\u0000"}}}`), 200, "nul"},
		{"deep", signed(nested(9000)), 200, "deep"},
		{"huge text", signed(`{"event":"video.failed","data":{"job_id":"huge","error":"` + strings.Repeat(`\u0001`, 170_000) + `"}}`), 200, "huge"},
		{"many keys", signed(`{"event":"video.created","data":{"job_id":"keys"` + strings.Repeat(`,"k":1`, 150_000) + `}}`), 200, "keys"},
		{"unknown type with any data", signed(`{"event":"video.\u202e/..","data":"\u0000"}`), 200, ""},
		{"unknown type with a bad job", signed(`{"event":"x","data":{"job_id":"\u0000"}}`), 200, ""},
		{"progress out of range", signed(`{"event":"video.processing","data":{"job_id":"progress","progress":1e308,"duration":-1e308}}`), 200, "progress"},
		{"progress past float64", signed(`{"event":"video.processing","data":{"job_id":"progress999","progress":1e999,"duration":"1e999"}}`), 200, "progress999"},

		refused("too deep", nested(100_000)),
		refused("NUL in the job", `{"event":"video.created","data":{"job_id":"a\u0000b"}}`),
		refused("raw NUL in the job", "{\"event\":\"video.created\",\"data\":{\"job_id\":\"a\x00b\"}}"),
		refused("job that is not UTF-8", "{\"event\":\"video.created\",\"data\":{\"job_id\":\"a\xffb\"}}"),
		refused("half a surrogate in the job", `{"event":"video.created","data":{"job_id":"a\ud800"}}`),
		refused("line break in the job", `{"event":"video.created","data":{"job_id":"a\nb"}}`),
		refused("escape sequence in the job", `{"event":"video.created","data":{"job_id":"\u001b[2J"}}`),
		refused("job of 10 KB", `{"event":"video.created","data":{"job_id":"`+strings.Repeat("a", 10_240)+`"}}`),
		refused("job of 10,000 digits", `{"event":"video.created","data":{"job_id":`+strings.Repeat("9", 10_000)+`}}`),
		refused("type of 10 KB", `{"event":"`+strings.Repeat("a", 10_240)+`"}`),
		refused("byte order mark", "\xef\xbb\xbf"+plain),
		refused("another object behind", plain+plain),
		refused("NUL behind", plain+"\x00"),
		refused("cut", plain[:len(plain)-1]),
		refused("NaN", `{"event":"video.created","data":{"job_id":NaN}}`),
		refused("nothing", ""),
	}
}

// oddTimes are times that are none, or that one of the databases cannot keep.
func oddTimes() []oddEvent {
	var odd []oddEvent
	for i, at := range []string{
		`"0000-01-01T00:00:00Z"`, `"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59.999999999Z"`, `"9999-12-31T23:59:59-23:59"`, `"10000-01-01T00:00:00Z"`,
		`"-0001-01-01T00:00:00Z"`, `"2025-01-15T10:25:60Z"`, `"2025-01-15T10:25:00.123456789123456789Z"`, `"2025-02-30T00:00:00Z"`, `"1969-12-31T23:59:59.999999999Z"`,
		`0`, `-1`, `1.5`, `1e999`, `-1e999`, `1e-400`, `1e15`, `253402300799999`, `253402300800000`, `9223372036854775807`, `"-62135596800"`, `"0x1p62"`, `"Infinity"`, `true`, `{}`,
	} {
		job := fmt.Sprintf("time-%d", i)
		body := fmt.Sprintf(`{"event":"video.completed","timestamp":%[1]s,"data":{"job_id":%[2]q,"created_at":%[1]s,"completed_at":%[1]s,"duration":%[1]s}}`, at, job)
		odd = append(odd, oddEvent{at, signed(body), 200, job})
	}
	return odd
}

// linkJob begins the ids of the jobs whose download must be given up.
const linkJob = "link-"

// oddLinks are links that no download may follow.
func oddLinks() []oddEvent {
	var odd []oddEvent
	for i, link := range []string{
		"https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://127.1/", "https://0x7f000001/", "http://example.com/plain", "file:///etc/passwd",
		"javascript:alert(1)", "//cdn.example/a", "../a", "\u0000https://127.0.0.1/", "https://user:pass@127.0.0.1/", "https://" + strings.Repeat("a", 300_000) + "/", "https://10.0.0.1/" + strings.Repeat("a", 300_000),
	} {
		quoted, _ := json.Marshal(link) // a string always can be
		job := fmt.Sprintf("%s%d", linkJob, i)
		body := fmt.Sprintf(`{"event":"video.completed","data":{"job_id":%q,"video_url":%s}}`, job, quoted)
		odd = append(odd, oddEvent{"link " + link[:min(len(link), 40)], signed(body), 200, job})
	}
	return odd
}

func (w *world) oddCallbacks() []oddEvent {
	named := func(id string, want int, job string) oddEvent {
		return oddEvent{"webhook-id " + id[:min(len(id), 40)], w.official(id, fmt.Sprintf(`{"id":%q,"status":"failed","message":"\u0000"}`, job)), want, job}
	}
	return []oddEvent{
		named("../../a/b", 200, "callback-slash"),
		named("a b:c%2f", 200, "callback-blank"),
		named(strings.Repeat("a", 10_240), 400, ""),
		named("a\xffb", 400, ""),
		{"too many videos", w.official("videos", `{"id":"videos","status":"succeeded","outputs":[{}`+strings.Repeat(`,{"url":"https://127.0.0.1/"}`, 30_000)+`]}`), 400, ""},
		{"both ids", w.official("both", `{"id":"1","task_id":"2","status":"failed"}`), 400, ""},
		{"outputs that are none", w.official("outputs", `{"id":"outputs","status":"succeeded","outputs":[1,[],null,"",{"url":1},{"url":"\u0000"}]}`), 200, "outputs"},
		{"external id with NUL", w.official("external", `{"task_id":"external","task_status":"failed","task_info":{"external_task_id":"\u0000\ud800"},"updated_at":-1}`), 200, "external"},
	}
}

// TestHostileEvents delivers odd events, twice each, and follows what was answered
// with 200 to the end: each is recorded, nothing is tried for ever, and nothing
// ends as a dead letter that should have been a 400.
func TestHostileEvents(t *testing.T) {
	t.Parallel()
	for name, database := range databases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, redis := newWorld(t), testenv.Redis(t)
			settings := w.settings(database(t), t.TempDir())
			settings["KLINGHOOK_REDIS_URL"] = redis.URL()
			if _, err := run(t, settings, "migrate"); err != nil {
				t.Fatal(err)
			}
			base := "http://" + start(t, "klinghook-ingest", settings).Address("webhooks")
			odd := w.oddEvents()
			for _, ev := range append(odd, odd...) {
				if status, answer := w.post(base, ev.request); status != ev.want {
					t.Errorf("%s: answered %d %s, want %d", ev.name, status, answer, ev.want)
				}
			}
			start(t, "klinghook", settings, "worker")
			inspector := asynq.NewInspector(asynq.RedisClientOpt{Addr: redis.Addr()})
			t.Cleanup(func() { _ = inspector.Close() })
			checkOddQueues(t, inspector)
			checkOddStore(t, settings, odd)
		})
	}
}

// checkOddQueues waits until all work is done, and looks at each task.
func checkOddQueues(t *testing.T, inspector *asynq.Inspector) {
	t.Helper()
	var queues []string
	eventually(t, "the end of all tasks", func() (bool, string) {
		var err error
		if queues, err = inspector.Queues(); err != nil {
			return false, err.Error()
		}
		left := 0
		for _, queue := range queues {
			info, err := inspector.GetQueueInfo(queue)
			if err != nil {
				return false, err.Error()
			}
			left += info.Pending + info.Active + info.Scheduled + info.Retry
		}
		return left == 0 && len(queues) > 1, fmt.Sprintf("%d tasks left in %q", left, queues)
	})
	for _, queue := range queues {
		done, err := inspector.ListCompletedTasks(queue, asynq.PageSize(1000))
		if err != nil {
			t.Fatal(err)
		}
		archived, err := inspector.ListArchivedTasks(queue, asynq.PageSize(1000))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range append(done, archived...) {
			if strings.ContainsFunc(task.ID, func(r rune) bool { return r <= ' ' || r == '/' || r == '\\' || r > '~' }) || len(task.ID) > 512 {
				t.Errorf("task id %q", task.ID)
			}
			if task.Retried > 0 {
				t.Errorf("%s was tried %d times: %s", task.ID, task.Retried+1, task.LastErr)
			}
		}
	}
}

// checkOddStore compares the store with what was answered.
func checkOddStore(t *testing.T, settings map[string]string, odd []oddEvent) {
	t.Helper()
	wantEvents := 0
	jobs := map[string]bool{}
	for _, ev := range odd {
		if ev.want == http.StatusOK {
			wantEvents++
			jobs[ev.job] = true
		}
	}
	delete(jobs, "")
	var events []struct {
		ID          string
		ProcessedAt time.Time `json:"processed_at"`
	}
	listed(t, settings, &events, "events")
	if len(events) != wantEvents {
		t.Errorf("%d events in the store, want %d", len(events), wantEvents)
	}
	for _, ev := range events {
		if ev.ProcessedAt.IsZero() {
			t.Errorf("event %s is not processed", ev.ID)
		}
	}
	var kept []struct{ ID, Status string }
	listed(t, settings, &kept, "jobs")
	for _, job := range kept {
		if !jobs[job.ID] {
			t.Errorf("job %q of no event", job.ID)
		}
		delete(jobs, job.ID)
	}
	for job := range jobs {
		t.Errorf("no job %q", job)
	}
	var letters []struct {
		Kind, Error string
		JobID       string `json:"job_id"`
	}
	listed(t, settings, &letters, "deadletters")
	for _, letter := range letters {
		if letter.Kind != "media:download" || !strings.HasPrefix(letter.JobID, linkJob) || len(letter.Error) > 1000 {
			t.Errorf("dead letter %s of %s: %.300s", letter.Kind, letter.JobID, letter.Error)
		}
	}
	if links := len(oddLinks()); len(letters) != links {
		t.Errorf("%d dead letters, want one for each of the %d links that must not be followed", len(letters), links)
	}
}

// listed decodes what a command lists.
func listed(t *testing.T, settings map[string]string, into any, what string) {
	t.Helper()
	out, err := run(t, settings, what, "list", "--json", "--limit", "0")
	if err == nil {
		err = json.Unmarshal([]byte(out), into)
	}
	if err != nil {
		t.Fatal(err)
	}
}
