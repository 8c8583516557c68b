package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/testenv"
)

// oddEvent is a signed delivery that no honest sender makes.
type oddEvent struct {
	name string
	event
	want int    // the answer's status
	job  string // the id of its job; empty for none, or unreadable
}

// unreadable replaces the job's id if a body is kept but cannot be read.
const unreadable = "\x00unreadable"

func oddBodies() []oddEvent {
	created := func(name, job, jobJSON string) oddEvent {
		return oddEvent{name, seedEvent(`{"event":"video.created","data":{"job_id":` + jobJSON + `}}`), 200, job}
	}
	plain := `{"event":"video.created","data":{"job_id":"plain"}}`
	return []oddEvent{
		created("slashes", "../../etc/passwd", `"..\/..\/etc/passwd"`),
		created("backslashes", `..\..\a`, `"..\\..\\a"`),
		created("dots", "..", `".."`),
		created("percent", "%2e%2e%2f%00", `"%2e%2e%2f%00"`),
		created("quotes", `'; DROP TABLE jobs; --"`, `"'; DROP TABLE jobs; --\""`),
		created("wildcards", `%_*?`, `"%_*?"`),
		created("other alphabets", "видео/视频/🎬", `"видео/视频/\ud83c\udfac"`),
		created("longest id", strings.Repeat("/", 256), `"`+strings.Repeat("/", 256)+`"`),
		created("number past float64", "1e999", `1e999`),
		created("negative zero", "-0.0", `-0.0`),
		created("key in escapes", "escaped", `"escaped","\u006aob_id2":1`),
		created("keys twice", "second", `"first","job_id":"second"`),
		{"data twice", seedEvent(`{"event":"video.failed","event":"video.created","data":1,"data":{"job_id":"twice"}}`), 200, "twice"},
		{"text that is not UTF-8", seedEvent("{\"event\":\"video.failed\",\"data\":{\"job_id\":\"bytes\",\"prompt\":\"\xff\xfe\\u0000\\ud800\",\"error\":\"\x80\"}}"), 200, "bytes"},
		{"NUL in every text", seedEvent(`{"event":"video.failed","data":{"job_id":"nul","prompt":"a\u0000b","model":"\u0000","error":{"message":"\u0000","code":"\u0000"}}}`), 200, "nul"},
		{"deep", seedEvent(`{"event":"video.created","data":{"job_id":"deep","more":` + strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000) + `}}`), 200, "deep"},
		{"huge text", seedEvent(`{"event":"video.failed","data":{"job_id":"huge","error":"` + strings.Repeat(`\u0001`, 170_000) + `"}}`), 200, "huge"},
		{"many keys", seedEvent(`{"event":"video.created","data":{"job_id":"keys"` + strings.Repeat(`,"k":1`, 150_000) + `}}`), 200, "keys"},
		{"unknown type with any data", seedEvent(`{"event":"video.\u202e/..","data":"\u0000"}`), 200, ""},
		{"unknown type with a bad job", seedEvent(`{"event":"x","data":{"job_id":"\u0000"}}`), 200, ""},
		{"progress out of range", seedEvent(`{"event":"video.processing","data":{"job_id":"progress","progress":1e308,"duration":-1e308}}`), 200, "progress"},
		{"progress past float64", seedEvent(`{"event":"video.processing","data":{"job_id":"progress999","progress":1e999,"duration":"1e999"}}`), 200, "progress999"},

		{"NUL in the job", seedEvent(`{"event":"video.created","data":{"job_id":"a\u0000b"}}`), 200, unreadable},
		{"type of 10 KB", seedEvent(`{"event":"` + strings.Repeat("a", 10_240) + `"}`), 200, unreadable},
		{"not an object", seedEvent(`[1e999,"\u0000"]`), 200, unreadable},
		{"byte order mark", seedEvent("\xef\xbb\xbf" + plain), 200, "plain"},
		{"trailing object", seedEvent(plain + plain), 400, ""},
	}
}

// oddTimes returns events with times that are invalid, or that a database cannot store.
func oddTimes() []oddEvent {
	var odd []oddEvent
	for i, at := range []string{
		`"0000-01-01T00:00:00Z"`, `"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59.999999999Z"`, `"9999-12-31T23:59:59-23:59"`, `"10000-01-01T00:00:00Z"`,
		`"-0001-01-01T00:00:00Z"`, `"2025-01-15T10:25:60Z"`, `"2025-01-15T10:25:00.123456789123456789Z"`, `"2025-02-30T00:00:00Z"`, `"1969-12-31T23:59:59.999999999Z"`,
		`0`, `-1`, `1.5`, `1e999`, `-1e999`, `1e-400`, `1e15`, `253402300799999`, `253402300800000`, `9223372036854775807`, `"-62135596800"`, `"0x1p62"`, `"Infinity"`, `true`, `{}`,
	} {
		job := fmt.Sprintf("time-%d", i)
		body := fmt.Sprintf(`{"event":"video.completed","timestamp":%[1]s,"data":{"job_id":%[2]q,"created_at":%[1]s,"completed_at":%[1]s,"duration":%[1]s}}`, at, job)
		odd = append(odd, oddEvent{at, seedEvent(body), 200, job})
	}
	return odd
}

// linkJob begins the ids of jobs whose download must fail.
const linkJob = "link-"

// oddLinks returns events with links that no download may follow.
func oddLinks() []oddEvent {
	var odd []oddEvent
	for i, link := range []string{
		"https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://127.1/", "https://0x7f000001/", "http://example.com/plain", "file:///etc/passwd",
		"javascript:alert(1)", "//cdn.example/a", "../a", "\u0000https://127.0.0.1/", "https://user:pass@127.0.0.1/", "https://" + strings.Repeat("a", 300_000) + "/", "https://10.0.0.1/" + strings.Repeat("a", 300_000),
	} {
		quoted, _ := json.Marshal(link) // never fails for a string
		job := fmt.Sprintf("%s%d", linkJob, i)
		body := fmt.Sprintf(`{"event":"video.completed","data":{"job_id":%q,"video_url":%s}}`, job, quoted)
		odd = append(odd, oddEvent{"link " + link[:min(len(link), 40)], seedEvent(body), 200, job})
	}
	return odd
}

func oddCallbacks() []oddEvent {
	named := func(id string, want int, job string) oddEvent {
		return oddEvent{"webhook-id " + id[:min(len(id), 40)], officialEvent(id, fmt.Sprintf(`{"id":%q,"status":"failed","message":"\u0000"}`, job)), want, job}
	}
	return []oddEvent{
		named("a/b", 200, "callback-slash"),
		named("a.b", 401, ""),
		named("a b:c%2f", 200, "callback-blank"),
		named(strings.Repeat("a", 10_240), 400, ""),
		named("a\xffb", 400, ""),
		{"too many videos", officialEvent("videos", `{"id":"videos","status":"succeeded","outputs":[{}`+strings.Repeat(`,{"url":"https://127.0.0.1/"}`, 30_000)+`]}`), 200, unreadable},
		{"two ids", officialEvent("both", `{"id":"1","task_id":"2","status":"failed"}`), 200, unreadable},
		{"outputs of wrong types", officialEvent("outputs", `{"id":"outputs","status":"succeeded","outputs":[1,[],null,"",{"url":1},{"url":"\u0000"}]}`), 200, "outputs"},
		{"external id with NUL", officialEvent("external", `{"task_id":"external","task_status":"failed","task_info":{"external_task_id":"\u0000\ud800"},"updated_at":-1}`), 200, "external"},
	}
}

// TestOddEventsAreRecordedOrRefused delivers odd events twice each: those answered with
// 200 are recorded at the first attempt, and only forbidden links become dead letters.
func TestOddEventsAreRecordedOrRefused(t *testing.T) {
	t.Parallel()
	odd := slices.Concat(oddBodies(), oddTimes(), oddLinks(), oddCallbacks())
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFleet(t, database(t))
			base := w.start(ingestProgram).url()
			for _, e := range slices.Repeat(odd, 2) {
				if status, answer := w.post(base, e.event); status != e.want {
					t.Errorf("%s: answered %d %s, want %d", e.name, status, answer, e.want)
				}
			}
			w.start(klinghook, "worker")
			w.checkOddQueues()
			w.checkOddStore(odd)
		})
	}
}

// checkOddQueues waits until all tasks are done, and checks their ids and attempts.
func (w *world) checkOddQueues() {
	w.t.Helper()
	w.openStore()
	w.settle()
	inspector := asynq.NewInspectorFromRedisClient(w.rdb)
	queues, err := inspector.Queues()
	testenv.NoError(w.t, err)
	for _, queue := range queues {
		done, err := inspector.ListCompletedTasks(queue, asynq.PageSize(1000))
		testenv.NoError(w.t, err)
		archived, err := inspector.ListArchivedTasks(queue, asynq.PageSize(1000))
		testenv.NoError(w.t, err)
		for _, task := range append(done, archived...) {
			if strings.ContainsFunc(task.ID, func(r rune) bool { return r <= ' ' || r == '/' || r == '\\' || r > '~' }) || len(task.ID) > 512 {
				w.t.Errorf("task id %q", task.ID)
			}
			if task.Retried > 0 {
				w.t.Errorf("%s had %d attempts: %s", task.ID, task.Retried+1, task.LastErr)
			}
		}
	}
}

// checkOddStore compares the store with the answers.
func (w *world) checkOddStore(odd []oddEvent) {
	w.t.Helper()
	wantEvents, wantUnreadable := 0, 0
	jobs := map[string]bool{}
	for _, e := range odd {
		switch {
		case e.job == unreadable:
			wantUnreadable++
		case e.want == http.StatusOK:
			wantEvents++
			jobs[e.job] = true
		}
	}
	delete(jobs, "")
	if n := w.number(`SELECT count(*) FROM events WHERE processed_at IS NOT NULL`); n != wantEvents {
		w.t.Errorf("%d processed events, want %d", n, wantEvents)
	}
	for _, job := range list[struct{ ID string }](w, "jobs", "--limit", "0") {
		if !jobs[job.ID] {
			w.t.Errorf("job %q has no event", job.ID)
		}
		delete(jobs, job.ID)
	}
	for job := range jobs {
		w.t.Errorf("no job %q", job)
	}
	letters := map[string]int{} // by kind
	for _, letter := range list[shownLetter](w, "deadletters", "--limit", "0") {
		letters[letter.Kind]++
		if letter.Kind == "media:download" != strings.HasPrefix(letter.JobID, linkJob) || len(letter.Error) > 1000 {
			w.t.Errorf("dead letter %s of %s: %.300s", letter.Kind, letter.JobID, letter.Error)
		}
	}
	// The completed jobs with odd times have no links, and neither has the one with odd outputs.
	want := map[string]int{"media:download": len(oddLinks()), "event:record": wantUnreadable, "media:find": len(oddTimes()) + 1}
	if diff := cmp.Diff(want, letters); diff != "" {
		w.t.Errorf("dead letters (-want +got)\n%s", diff)
	}
}
