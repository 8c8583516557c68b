package compose

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestStackLosesNothing runs the stack through scaling, kills and restarts. Each step
// continues from the one before.
func TestStackLosesNothing(t *testing.T) {
	s := newStack(t)
	s.profiles = []string{"simulate"}
	s.up(1, 1)
	s.answers()
	jobs := 1
	video := s.simulated(jobs)

	t.Log("a job's whole life, from inside the stack")
	s.send(1, video)
	s.operator("send", "--lifecycle") // as the README has it, with the proxy's sample
	jobs += 2
	s.settled(jobs)

	t.Log("scaled: four workers, two ingests, and one worker killed under load")
	s.up(4, 2)
	before := s.deliveries()
	s.send(40, video)
	jobs += 40
	s.docker("kill", s.containers("worker")[0])
	s.settled(jobs)
	if after := s.deliveries(); after[0] == before[0] || after[1] == before[1] {
		t.Errorf("the ingests have %v deliveries, and had %v before: want more in each", after, before)
	}

	t.Log("Redis stopped, and both ingests removed before it is back")
	s.up(4, 2)
	s.must("stop", "redis")
	s.send(10, video)
	jobs += 10
	if out := s.must("logs", "--no-color", "ingest"); !strings.Contains(out, "circuit breaker opened") {
		t.Errorf("ingest does not log that Redis is away:\n%s", out)
	}
	s.must("rm", "--stop", "--force", "ingest")
	s.up(2, 1) // the other ingest's spool must be drained too
	s.settled(jobs)

	t.Log("down and up again")
	kept := s.query("SELECT count(*) FROM events")
	s.must("down")
	s.up(1, 1)
	s.settled(jobs)
	if got := s.query("SELECT count(*) FROM events"); got != kept {
		t.Errorf("%s events are left of %s", got, kept)
	}
	s.simulated(jobs + 1)
}

// TestStackFillsDashboard runs each panel's queries as Grafana does: under load, and
// with a missing file, none is empty, except that of look-ups, which need an API key.
func TestStackFillsDashboard(t *testing.T) {
	s := newStack(t, "prometheus")
	s.profiles = []string{"simulate"}
	s.up(2, 2)
	s.must("up", "-d", "--no-build", "prometheus")
	s.healthy("prometheus", 1)
	var panels []string
	asked := map[string][]string{} // expressions, by the panel's title
	onEachDashboard(t, func(t *testing.T, d model) {
		for _, p := range d.Panels {
			if p.Panel == nil || *p.Panel.Title == "Look-ups at Kling" {
				continue
			}
			panels = append(panels, *p.Panel.Title)
			for _, q := range queries(t, p.Panel) {
				asked[*p.Panel.Title] = append(asked[*p.Panel.Title], q.Expr)
			}
		}
	})
	s.operator("send", "--lifecycle", "--video-url", "http://proxy:8082/none.mp4")
	s.until("each panel has data", func() (bool, string) {
		s.operator("send", "--lifecycle")
		var empty []string
		for _, panel := range panels {
			for _, expr := range asked[panel] {
				// Grafana's value at a scrape interval of 15 s.
				if s.series(strings.ReplaceAll(expr, "$__rate_interval", "1m")) == 0 {
					empty = append(empty, fmt.Sprintf("%q has no data for %s", panel, expr))
				}
			}
		}
		return len(panels) > 0 && len(empty) == 0, strings.Join(empty, "\n")
	})
}

// series returns how many series of numbers Prometheus returns.
func (s *stack) series(expr string) (n int) {
	s.t.Helper()
	status, answer := s.ask(http.MethodGet, "PROMETHEUS_PORT", "/api/v1/query?query="+url.QueryEscape(expr), "", http.Header{})
	if status != http.StatusOK {
		s.t.Fatalf("%s is answered %d %s", expr, status, answer)
	}
	var answered struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	decode(s.t, answer, &answered)
	for _, r := range answered.Data.Result {
		if r.Value[1] != "NaN" {
			n++
		}
	}
	return n
}

// answers asks each published port.
func (s *stack) answers() {
	s.t.Helper()
	for _, tt := range []struct {
		method, port, path string
		want               int
	}{
		{http.MethodGet, "KLINGHOOK_PORT", "/healthz", http.StatusNotFound}, // the proxy forwards webhooks only
		{http.MethodPost, "KLINGHOOK_PORT", "/webhooks/klingai", http.StatusUnauthorized},
		{http.MethodPost, "KLINGHOOK_PORT", "/webhooks/klingai/official", http.StatusUnauthorized},
		{http.MethodGet, "KLINGHOOK_ADMIN_PORT", "/readyz", http.StatusOK},
	} {
		if got, answer := s.ask(tt.method, tt.port, tt.path, "{}", http.Header{}); got != tt.want {
			s.t.Errorf("%s %s answers %d %s, want %d", tt.method, tt.path, got, answer, tt.want)
		}
	}
	if got, _ := s.ask(http.MethodGet, "KLINGHOOK_ADMIN_PORT", "/queues/", "", http.Header{}); got == http.StatusOK {
		s.t.Error("the queue pages need no login")
	}
}

// simulated creates a job at the simulator, waits until klinghook has this many jobs
// and its video, and returns its link.
func (s *stack) simulated(jobs int) string {
	s.t.Helper()
	// Links have the requested host: here the one that workers use.
	header := http.Header{"Host": {"simulate:5010"}, "Authorization": {"Bearer simulated"}}
	var created struct {
		Data struct {
			TaskID string `json:"task_id"`
		}
	}
	s.until("the fake Kling takes a job", func() (bool, string) {
		status, answer := s.ask(http.MethodPost, "SIMULATE_PORT", "/v1/videos/text2video",
			`{"prompt": "A lighthouse at dawn", "callback_url": "http://proxy:5000/webhooks/klingai/official"}`, header)
		if status != http.StatusOK {
			return false, fmt.Sprint(status, " ", answer)
		}
		decode(s.t, answer, &created)
		return true, ""
	})
	s.settled(jobs)
	var shown struct {
		Media []struct{ URL, Object, State string }
	}
	decode(s.t, s.operator("jobs", "show", "--json", created.Data.TaskID), &shown)
	if len(shown.Media) != 1 || shown.Media[0].Object == "" {
		s.t.Fatalf("the job %s has %+v, want its video", created.Data.TaskID, shown.Media)
	}
	_, answer := s.ask(http.MethodGet, "SIMULATE_PORT", "/v1/videos/text2video/"+created.Data.TaskID, "", header)
	var looked struct {
		Data struct {
			TaskResult struct{ Videos []struct{ URL string } } `json:"task_result"`
		}
	}
	decode(s.t, answer, &looked)
	if len(looked.Data.TaskResult.Videos) != 1 {
		s.t.Fatalf("the fake Kling shows %s, want a video", answer)
	}
	return looked.Data.TaskResult.Videos[0].URL
}

// send sends all events of this many jobs from inside the stack; each must be answered
// with 200.
func (s *stack) send(jobs int, video string) {
	s.t.Helper()
	out := s.operator("send", "--lifecycle", "--protocol", "official", "--count", fmt.Sprint(jobs), "--video-url", video)
	if want := fmt.Sprintf("%d × 200 OK", 4*jobs); !strings.Contains(out, want) {
		s.t.Fatalf("send printed no %q:\n%s", want, out)
	}
}

// deliveries returns how many deliveries each ingest has logged.
func (s *stack) deliveries() []int {
	s.t.Helper()
	var counts []int
	for _, id := range s.containers("ingest") {
		counts = append(counts, strings.Count(s.docker("logs", id), "delivery"))
	}
	return counts
}
