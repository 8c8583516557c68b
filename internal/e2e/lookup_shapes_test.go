package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/programs"
)

// reply is one answer of a scripted Kling.
type reply struct {
	status int
	// retryAfter is the header of that name; empty for none.
	retryAfter string
	body       string
}

// scripted is a Kling that says what the test has written down for it, as Kling's
// documentation has it, and in the shapes that its users have met.
type scripted struct {
	*httptest.Server
	mu sync.Mutex // guards what follows
	// replies are what is said when this path is asked for; the last is said for ever.
	replies map[string][]reply
	// asked are the paths, with what is asked for, and when.
	asked map[string][]time.Time
	// tasks are the jobs of the new API; the first answers about them are refusals.
	tasks    map[string]string
	refusals []reply
}

func newScripted(t *testing.T) *scripted {
	s := &scripted{replies: map[string][]reply{}, asked: map[string][]time.Time{}, tasks: map[string]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := reply{http.StatusNotFound, "", `{"code":1203,"message":"The requested resource does not exist","request_id":"r"}`}
	if r.URL.Path == "/tasks" {
		said = s.answerTasks(strings.Split(r.URL.Query().Get("task_ids"), ","))
	} else {
		s.asked[r.URL.Path] = append(s.asked[r.URL.Path], time.Now())
		if list := s.replies[r.URL.Path]; len(list) > 0 {
			said = list[min(len(s.asked[r.URL.Path]), len(list))-1]
		}
	}
	if r.Header.Get("Authorization") != "Bearer "+klingKey {
		said = reply{http.StatusUnauthorized, "", `{"code":1002,"message":"Authorization is invalid"}`}
	}
	if said.retryAfter != "" {
		w.Header().Set("Retry-After", said.retryAfter)
	}
	w.WriteHeader(said.status)
	_, _ = w.Write([]byte(said.body))
}

// answerTasks is called with the lock held.
func (s *scripted) answerTasks(ids []string) reply {
	for _, id := range ids {
		s.asked[id] = append(s.asked[id], time.Now())
	}
	if len(s.refusals) > 0 {
		said := s.refusals[0]
		s.refusals = s.refusals[1:]
		return said
	}
	var found []string
	for _, id := range ids {
		if task, ok := s.tasks[id]; ok {
			found = append(found, task)
		}
	}
	data := "[" + strings.Join(found, ",") + "]"
	if len(found) == 1 {
		data = found[0] // as has been seen
	}
	return reply{http.StatusOK, "", `{"code":0,"message":"SUCCEED","request_id":"r","data":` + data + `}`}
}

func (s *scripted) times(what string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked[what])
}

func ok(body string) reply { return reply{http.StatusOK, "", body} }

// scriptedJob is a job of the legacy API, what Kling says of it, and what becomes of
// it.
type scriptedJob struct {
	id      string
	replies []reply
	want    string
	// files is how many videos it has.
	files int
}

// scriptedJobs are what Kling says of jobs at /v1/videos/text2video, answer by answer.
func scriptedJobs(cdn string) []scriptedJob {
	const head = `{"code":0,"message":"SUCCEED","request_id":"r","data":`
	processing := func(id string) reply {
		return ok(head + `{"task_id":"` + id + `","task_status":"processing","task_status_msg":"","created_at":1736936700000,"updated_at":1736936760000,"task_info":{"external_task_id":""},"task_result":{}}}`)
	}
	video := func(name string) string {
		return `{"id":"v","url":"` + cdn + `/` + name + `?Signature=hush","duration":"5.041"}`
	}
	succeed := func(id string) reply {
		return ok(head + `{"task_id":"` + id + `","task_status":"succeed","task_status_msg":"","created_at":1736936700000,"updated_at":1736937000000,"final_unit_deduction":"1","task_info":{"external_task_id":""},"task_result":{"images":[],"videos":[` + video(id+".mp4") + `]}}}`)
	}
	page := `<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>`
	return []scriptedJob{
		{"101", []reply{processing("101"), succeed("101")}, "completed", 1},
		{"102", []reply{ok(head + `[{"task_id":"102","task_status":"succeeded","updated_at":"1736937000000","task_result":{"videos":[` + video("102.mp4") + `]}}]}`)}, "completed", 1},
		{"103", []reply{ok(`{"code":"0","data":{"task_id":103,"task_status":"succeed","updated_at":1736937000,"task_result":{"videos":` + video("103.mp4") + `}}}`)}, "completed", 1},
		{"104", []reply{ok(head + `{"task_id":"104","task_status":"failed","task_status_msg":"Failure to pass the risk control system","updated_at":1736937000000}}`)}, "failed", 0},
		{"105", []reply{{http.StatusTooManyRequests, "2", `{"code":1302,"message":"api rate limit"}`}, succeed("105")}, "completed", 1},
		{"106", []reply{{http.StatusTooManyRequests, "", `{"code":1303,"message":"parallel task over resource pack limit"}`}, processing("106"), succeed("106")}, "completed", 1},
		{"107", []reply{{http.StatusInternalServerError, "", `{"code":5000,"message":"internal"}`}, succeed("107")}, "completed", 1},
		{"108", []reply{{http.StatusBadGateway, "", page}, succeed("108")}, "completed", 1},
		{"109", []reply{ok(page), succeed("109")}, "completed", 1},
		{"110", []reply{ok(head + `null}`), ok(head + `{"task_id":"another","task_status":"succeed"}}`), succeed("110")}, "completed", 1},
		{"111", []reply{{http.StatusNotFound, "", `{"code":1203,"message":"not there yet"}`}, succeed("111")}, "completed", 1},
		{"112", []reply{ok(head + `{"task_id":"112","task_status":"succeed","updated_at":1736937000000,"task_result":{"videos":[` + video("112.mp4") + `,` + video("112b.mp4") + `]}}}`)}, "completed", 2},
	}
}

// scriptedRun is a dev that asks a scripted Kling.
func scriptedRun(t *testing.T, s *scripted, more map[string]string) (r *lookupRun, dev *programs.Service) {
	t.Helper()
	r = &lookupRun{world: newWorld(t), bucket: t.TempDir()}
	data := t.TempDir()
	r.settings = r.world.settings("sqlite:"+data+"/k.db", r.bucket)
	r.settings["KLINGHOOK_DATA"] = data
	lookupSettings(r.settings, s.URL, time.Second, 10)
	for name, value := range more {
		r.settings[name] = value
	}
	dev = start(t, programs.Klinghook, r.settings, "dev")
	dev.Address("webhooks")
	r.open("sqlite", data+"/k.db?_pragma=busy_timeout(10000)")
	return r, dev
}

// TestLookupShapes holds that jobs end right whatever shape Kling's answers have, that
// what it refuses for now is asked for again and not before it wants, and that it is
// not asked once more than that takes.
func TestLookupShapes(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	r, dev := scriptedRun(t, s, nil)
	jobs := scriptedJobs(r.cdn.URL)
	track := []string{"jobs", "track", "--api", "text2video"}
	for _, j := range jobs {
		s.replies["/v1/videos/text2video/"+j.id] = j.replies
		track = append(track, j.id)
	}
	link := func(name string) string { return r.cdn.URL + "/" + name + ".mp4?Signature=hush" }
	s.tasks["201"] = `{"id":"201","status":"succeeded","message":"","create_time":1736936700000,"update_time":1736937000000,"external_id":"","outputs":[{"type":"video","id":"1","url":"` + link("201") + `","watermark_url":"","duration":"5.041"}],"billing":[]}`
	s.tasks["202"] = `{"id":"202","status":"succeed","update_time":"1736937000000","outputs":{"id":1,"url":"` + link("202") + `","duration":5}}`
	s.tasks["203"] = `{"id":"203","status":"failed","message":"risk control","update_time":1736937000000,"outputs":[]}`
	s.refusals = []reply{{http.StatusTooManyRequests, "2", `{"code":1302,"message":"api rate limit"}`}, {http.StatusServiceUnavailable, "", `{"code":5001,"message":"busy"}`}}
	// This one is of a kind that nobody told, and is found where it was made.
	s.replies["/v1/videos/image2video/301"] = []reply{ok(`{"code":0,"data":{"task_id":"301","task_status":"succeed","updated_at":1736937000000,"task_result":{"videos":[{"id":"1","url":"` + link("301") + `","duration":"5"}]}}}`)}
	for _, args := range [][]string{track, {"jobs", "track", "--api", "tasks", "201", "202", "203"}, {"jobs", "track", "301"}} {
		if _, err := run(t, r.settings, args...); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"201": "completed", "202": "completed", "203": "failed", "301": "completed"}
	for _, j := range jobs {
		want[j.id] = j.want
	}
	for id, status := range want {
		r.jobs = append(r.jobs, &simulatedJob{id: id, status: status})
	}
	r.awaitEnds()
	r.awaitMedia()
	for id, status := range want {
		if got := r.text(`SELECT status FROM jobs WHERE id = $1`, id); got != status {
			t.Errorf("job %s is %s, want %s", id, got, status)
		}
	}
	for _, j := range jobs {
		if n := len(s.times("/v1/videos/text2video/" + j.id)); n != len(j.replies) {
			t.Errorf("Kling was asked %d times about %s, want %d", n, j.id, len(j.replies))
		}
		if n := r.number(`SELECT count(*) FROM media WHERE job_id = '` + j.id + `'`); n != j.files {
			t.Errorf("job %s has %d files, want %d", j.id, n, j.files)
		}
	}
	r.checkTold()
	s.checkLeftAlone(t, s.times("/v1/videos/text2video/105")[0], 2*time.Second)
	checkSilence(t, dev)
}

// checkLeftAlone holds that nothing was asked for a time after a refusal.
func (s *scripted) checkLeftAlone(t *testing.T, refused time.Time, wait time.Duration) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for what, times := range s.asked {
		for _, at := range times {
			if since := at.Sub(refused); since > 0 && since < wait-50*time.Millisecond {
				t.Errorf("%s was asked for %s after Kling wanted to be left alone for %s", what, since, wait)
			}
		}
	}
}

// TestLostJob holds that a job of which nothing is heard counts as lost after the set
// time, that this is told once, and that a webhook which comes after all completes it.
func TestLostJob(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	r, dev := scriptedRun(t, s, map[string]string{"KLINGHOOK_LOOKUP_GIVE_UP": "4s"})
	began := time.Now()
	if _, err := run(t, r.settings, "jobs", "track", "--api", "text2video", "401"); err != nil {
		t.Fatal(err)
	}
	status := func(want string) {
		t.Helper()
		eventually(t, "job to be "+want, func() (bool, string) {
			got := r.text(`SELECT status FROM jobs WHERE id = $1`, "401")
			return got == want, got
		})
	}
	status("lost")
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("lost after %s, want 4s at least", took)
	}
	// Asked after 1, 3 and 7 seconds, or, where the machine is slow, after 2 and 5; and
	// no more now.
	if n := len(s.times("/v1/videos/text2video/401")); n < 2 || n > 3 {
		t.Errorf("Kling was asked %d times, want 2 or 3", n)
	}
	late := r.official("msg_late", fmt.Sprintf(`{"task_id":"401","task_status":"succeed","updated_at":1736937000000,"task_result":{"videos":[{"id":"1","url":"%s/401.mp4?Signature=hush","duration":"5"}]}}`, r.cdn.URL))
	if got, answer := r.post("http://"+dev.Address("webhooks"), late); got != http.StatusOK {
		t.Fatalf("answered %d %s", got, answer)
	}
	status("completed")
	r.awaitMedia()
	r.mu.Lock()
	defer r.mu.Unlock()
	var told []string
	for message, times := range r.messages {
		told = append(told, fmt.Sprint(message[:strings.LastIndexByte(message, ' ')], " ", times))
	}
	slices.Sort(told)
	if want := []string{"video.completed 401 1", "video.lost 401 1"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
