package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

const (
	klingKey      = "a-kling-key-that-no-log-has"
	callbackToken = "a-callback-token-that-no-log-has-0123456789"
	apiToken      = "an-api-token-that-no-log-has-0123456789"
)

// setLookups sets how Kling's API is called.
func (w *world) setLookups(klingURL string, after time.Duration, rate int) {
	w.settings["KLINGAI_API_KEY"] = klingKey
	w.settings["KLINGAI_API_URL"] = klingURL
	w.settings["KLINGHOOK_LOOKUP_AFTER"] = after.String()
	w.settings["KLINGHOOK_LOOKUP_RATE"] = fmt.Sprint(rate)
	w.settings["KLINGHOOK_CALLBACK_TOKEN"] = callbackToken
	w.settings["KLINGHOOK_API_TOKEN"] = apiToken
}

// line is a proxy to Kling's API that records the time of each call.
type line struct {
	*httptest.Server
	mu    sync.Mutex // guards calls
	calls []time.Time
}

func newLine(t *testing.T, addr string) *line {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	l := &line{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.calls = append(l.calls, time.Now())
		l.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *line) all() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// checkRate checks that no five seconds have more calls than the rate allows. On a
// slow machine a delayed call may come close to the next one.
func (l *line) checkRate(t *testing.T, perSecond int) {
	t.Helper()
	calls := l.all()
	const window = 5
	most := window*perSecond + 1 + perSecond/2
	for i := most; i < len(calls); i++ {
		if took := calls[i].Sub(calls[i-most]); took < window*time.Second {
			t.Errorf("%d calls in %s, want at most %d a second", most+1, took, perSecond)
			return
		}
	}
}

// simulator is a running `klinghook simulate`.
type simulator struct {
	t    *testing.T
	addr string
}

// newSimulator starts a simulator and lets the world download from it.
func (w *world) newSimulator(flags ...string) *simulator {
	w.t.Helper()
	args := append([]string{"simulate", "--addr", "127.0.0.1:0", "--api-key", klingKey}, flags...)
	s := &simulator{t: w.t, addr: w.start(klinghook, args...).address("simulate")}
	w.settings["KLINGHOOK_MEDIA_ALLOW"] = s.addr
	return s
}

// call calls the API, again if the simulator answers with an error, and returns the
// data.
func (s *simulator) call(method, path string, body any) json.RawMessage {
	s.t.Helper()
	for range 20 {
		status, answer := authorized(s.t, method, "http://"+s.addr+path, klingKey, body)
		if status >= 500 {
			continue
		}
		var envelope struct{ Data json.RawMessage }
		if err := json.Unmarshal(answer, &envelope); err != nil || status != http.StatusOK {
			s.t.Fatalf("%s %s answered %d %s", method, path, status, answer)
		}
		return envelope.Data
	}
	s.t.Fatalf("%s %s answers only with errors", method, path)
	return nil
}

// authorized sends a request with a bearer token.
func authorized(t *testing.T, method, target, token string, body any) (status int, answer []byte) {
	t.Helper()
	var content io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		testenv.NoError(t, err)
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, target, content)
	testenv.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	status, text, err := send(http.DefaultClient, r)
	testenv.NoError(t, err)
	return status, []byte(text)
}

// simulatedJob is a job at the simulator.
type simulatedJob struct {
	id           string
	legacy       bool
	created      time.Time
	status, link string // at the end
}

// create creates a job that calls back.
func (s *simulator) create(legacy bool, callbackURL string) *simulatedJob {
	s.t.Helper()
	var receipt struct {
		ID     string
		TaskID string `json:"task_id"`
	}
	path, order := "/text-to-video/kling-v3", map[string]any{"prompt": "a cat", "options": map[string]any{"callback_url": callbackURL}}
	if legacy {
		path, order = "/v1/videos/text2video", map[string]any{"prompt": "a cat", "callback_url": callbackURL}
	}
	testenv.NoError(s.t, json.Unmarshal(s.call(http.MethodPost, path, order), &receipt))
	return &simulatedJob{id: receipt.ID + receipt.TaskID, legacy: legacy, created: time.Now()}
}

// askEnds asks how the jobs ended.
func (s *simulator) askEnds(jobs []*simulatedJob) {
	s.t.Helper()
	for _, j := range jobs {
		path := "/tasks?task_ids=" + j.id
		if j.legacy {
			path = "/v1/videos/text2video/" + j.id
		}
		data := bytes.TrimSpace(s.call(http.MethodGet, path, nil))
		data = bytes.TrimSuffix(bytes.TrimPrefix(data, []byte("[")), []byte("]")) // the shape varies
		var answer struct {
			Status     string
			TaskStatus string `json:"task_status"`
			Outputs    []struct{ URL string }
			TaskResult struct{ Videos []struct{ URL string } } `json:"task_result"`
		}
		if err := json.Unmarshal(data, &answer); err != nil {
			s.t.Fatalf("job %s: %v: %s", j.id, err, data)
		}
		j.status = answer.Status + answer.TaskStatus
		if strings.HasPrefix(j.status, "succeed") {
			j.status, j.link = "completed", append(answer.Outputs, answer.TaskResult.Videos...)[0].URL
		}
	}
}

// checkStats logs what happened at the simulator, and checks that it misbehaved.
func (s *simulator) checkStats(jobs int) {
	s.t.Helper()
	var stats struct {
		Jobs      struct{ Succeeded, Failed int }
		Callbacks struct{ Planned, Lost, Repeated, Reordered int }
	}
	_, answer := authorized(s.t, http.MethodGet, "http://"+s.addr+"/simulator/stats", klingKey, nil)
	testenv.NoError(s.t, json.Unmarshal(answer, &stats))
	s.t.Logf("at the simulator: %s", answer)
	if c := stats.Callbacks; c.Lost == 0 || c.Repeated == 0 || c.Reordered == 0 || stats.Jobs.Failed == 0 {
		s.t.Errorf("nothing went wrong at the simulator: %+v", stats)
	}
	if stats.Jobs.Succeeded+stats.Jobs.Failed != jobs {
		s.t.Errorf("%+v, want %d jobs", stats.Jobs, jobs)
	}
}

// checkLogs checks that no log has a secret or a signed link's query.
func checkLogs(t *testing.T, services ...*service) {
	t.Helper()
	for _, s := range services {
		log := string(s.output())
		for _, secret := range []string{klingKey, callbackToken, apiToken, "token=", "expires="} {
			if strings.Contains(log, secret) {
				t.Errorf("the log of %s has %q", s.name, secret)
			}
		}
	}
}
