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

	"github.com/klinghook/klinghook/internal/programs"
)

const (
	klingKey      = "a-kling-key-that-no-log-has"
	callbackToken = "a-callback-token-that-no-log-has-0123456789"
	apiToken      = "an-api-token-that-no-log-has-0123456789"
)

// lookupSettings are those by which Kling is asked.
func lookupSettings(settings map[string]string, klingURL string, after time.Duration, rate int) {
	settings["KLINGAI_API_KEY"] = klingKey
	settings["KLINGAI_API_URL"] = klingURL
	settings["KLINGHOOK_LOOKUP_AFTER"] = after.String()
	settings["KLINGHOOK_LOOKUP_RATE"] = fmt.Sprint(rate)
	settings["KLINGHOOK_CALLBACK_TOKEN"] = callbackToken
	settings["KLINGHOOK_API_TOKEN"] = apiToken
}

// line is a way to Kling's API that notes each call that goes over it.
type line struct {
	*httptest.Server
	mu    sync.Mutex // guards calls
	calls []lineCall
}

type lineCall struct {
	at time.Time
	// what is the path and the query.
	what string
}

// newLine lays a line to a Kling at an address.
func newLine(t *testing.T, addr string) *line {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	l := &line{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.calls = append(l.calls, lineCall{time.Now(), r.URL.RequestURI()})
		l.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *line) all() []lineCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// checkRate holds that in no time there were more calls than the rate allows. A call
// that the machine was slow to let through may come close to the next one.
func (l *line) checkRate(t *testing.T, perSecond int) {
	t.Helper()
	calls := l.all()
	const window = 5 * time.Second
	most := int(window.Seconds())*perSecond + 1 + perSecond/2
	for i := most; i < len(calls); i++ {
		if took := calls[i].at.Sub(calls[i-most].at); took < window {
			t.Errorf("%d calls in %s, which is more than %d a second", most+1, took, perSecond)
			return
		}
	}
	if len(calls) == 0 {
		return
	}
	if took := calls[len(calls)-1].at.Sub(calls[0].at); float64(len(calls)) > took.Seconds()*float64(perSecond)+2 {
		t.Errorf("%d calls in %s, which is more than %d a second", len(calls), took, perSecond)
	}
}

// simulator is a running `klinghook simulate`.
type simulator struct {
	t       *testing.T
	service *programs.Service
	addr    string
}

func newSimulator(t *testing.T, settings map[string]string, flags ...string) *simulator {
	t.Helper()
	args := append([]string{"simulate", "--addr", "127.0.0.1:0", "--api-key", klingKey}, flags...)
	s := &simulator{t: t, service: start(t, programs.Klinghook, settings, args...)}
	s.addr = s.service.Address("simulate")
	return s
}

// call makes a call, again where the simulator has trouble, and returns the data.
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
	s.t.Fatalf("%s %s has nothing but trouble", method, path)
	return nil
}

// authorized makes a request with a bearer token.
func authorized(t *testing.T, method, target, token string, body any) (status int, answer []byte) {
	t.Helper()
	var content io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, target, content)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

// simulatedJob is a job at the simulator.
type simulatedJob struct {
	id     string
	legacy bool
	// created is when.
	created time.Time
	// status and link are what the simulator says at the end.
	status, link string
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
	if err := json.Unmarshal(s.call(http.MethodPost, path, order), &receipt); err != nil {
		s.t.Fatal(err)
	}
	return &simulatedJob{id: receipt.ID + receipt.TaskID, legacy: legacy, created: time.Now()}
}

// tell asks the simulator how jobs ended.
func (s *simulator) tell(jobs []*simulatedJob) {
	s.t.Helper()
	for _, j := range jobs {
		path := "/tasks?task_ids=" + j.id
		if j.legacy {
			path = "/v1/videos/text2video/" + j.id
		}
		data := bytes.TrimSpace(s.call(http.MethodGet, path, nil))
		data = bytes.TrimSuffix(bytes.TrimPrefix(data, []byte("[")), []byte("]")) // it drifts
		var answer struct {
			Status     string
			TaskStatus string `json:"task_status"`
			Outputs    []struct{ URL string }
			TaskResult struct{ Videos []struct{ URL string } } `json:"task_result"`
		}
		if err := json.Unmarshal(data, &answer); err != nil {
			s.t.Fatalf("job %s: %v: %s", j.id, err, data)
		}
		switch status := answer.Status + answer.TaskStatus; status {
		case "succeed", "succeeded":
			j.status, j.link = "completed", append(answer.Outputs, answer.TaskResult.Videos...)[0].URL
		default:
			j.status = status
		}
	}
}

// simulatorStats is what GET /simulator/stats tells, as far as it is looked at.
type simulatorStats struct {
	Jobs      struct{ Created, Succeeded, Failed int }
	Callbacks struct{ Planned, Lost, Repeated, Reordered, Delivered, Waiting int }
	Lookups   struct {
		Answered       int
		LinksRefreshed int `json:"links_refreshed"`
	}
	Media struct{ Requests, Dead int }
}

func (s *simulator) stats() (stats simulatorStats) {
	s.t.Helper()
	_, answer := authorized(s.t, http.MethodGet, "http://"+s.addr+"/simulator/stats", klingKey, nil)
	if err := json.Unmarshal(answer, &stats); err != nil {
		s.t.Fatal(err)
	}
	return stats
}

// checkSilence holds that no log has a secret, or a signed link's query.
func checkSilence(t *testing.T, services ...*programs.Service) {
	t.Helper()
	for _, s := range services {
		log := string(s.Output())
		for _, secret := range []string{klingKey, callbackToken, apiToken, "token=", "expires="} {
			if strings.Contains(log, secret) {
				t.Errorf("the log of %s has %q", s.Name(), secret)
			}
		}
	}
}
