package simulate

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/klinghook/klinghook/internal/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	officialSecret = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
	seedSecret     = "hunter2"
	callbackURL    = "https://hooks.example/webhooks"
)

// arrival is a callback that was received.
type arrival struct {
	at     time.Time
	url    string
	header http.Header
	body   []byte
}

// inbox receives callbacks instead of a network.
type inbox struct {
	// answer returns the status of the answer to the nth callback, from 0. Status 0 means
	// no answer. Default 200.
	answer func(n int) int

	mu   sync.Mutex // guards list
	list []arrival
}

func (b *inbox) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	status := http.StatusOK
	if b.answer != nil {
		status = b.answer(len(b.list))
	}
	b.list = append(b.list, arrival{time.Now(), r.URL.String(), r.Header, body})
	if status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: r}, nil
}

// all returns the callbacks in the order of arrival.
func (b *inbox) all() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list
}

// sourceOf returns klinghook's reader of a protocol.
func sourceOf(t *testing.T, protocol string, secrets ...string) source.Source {
	t.Helper()
	for _, p := range source.Protocols() {
		if p.Name == protocol {
			src, err := p.New(secrets)
			if err != nil {
				t.Fatal(err)
			}
			return src
		}
	}
	t.Fatalf("no protocol %s", protocol)
	return nil
}

// identify verifies an arrival and returns its event and job.
func (a arrival) identify(t *testing.T, protocol string, secret string) source.Identity {
	t.Helper()
	src := sourceOf(t, protocol, secret)
	_, err := src.Verify(a.header, a.body, a.at)
	id, idErr := src.Identify(a.header, a.body)
	if err := errors.Join(err, idErr); err != nil {
		t.Errorf("%s: %v", a.body, err)
	}
	return id
}

// run calls f with a Simulator in a bubble of fake time.
func run(t *testing.T, cfg Config, f func(t *testing.T, s *Simulator, b *inbox)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, ok := cfg.Transport.(*inbox)
		if !ok {
			b = &inbox{}
			cfg.Transport = b
		}
		s := newSimulator(t, cfg)
		f(t, s, b)
	})
}

func newSimulator(t *testing.T, cfg Config) *Simulator {
	t.Helper()
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// pass lets time pass and waits until everything due by then is done.
func pass(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

// ask calls the API with a key and returns the answer.
func ask(t *testing.T, s http.Handler, method, path, body string) (int, map[string]any) {
	t.Helper()
	return askAs(t, s, "Bearer any", method, path, body)
}

func askAs(t *testing.T, s http.Handler, authorization, method, path, body string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, "http://kling.test"+path, strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s %s: %v in %q", method, path, err, w.Body)
	}
	return w.Code, answer
}

// create creates a job in the legacy form and returns its id.
func create(t *testing.T, s http.Handler) string {
	t.Helper()
	return createWith(t, s, `{"prompt":"a lighthouse","callback_url":"`+callbackURL+`"}`)
}

func createWith(t *testing.T, s http.Handler, body string) string {
	t.Helper()
	status, answer := ask(t, s, "POST", "/v1/videos/text2video", body)
	if status != http.StatusOK {
		t.Fatalf("create: %d %v", status, answer)
	}
	return text(answer, "data", "task_id")
}

// text returns the string under the keys, or "". In lists it looks at the first element.
func text(value any, keys ...string) string {
	for _, key := range keys {
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = list[0]
		}
		object, _ := value.(map[string]any)
		value = object[key]
	}
	s, _ := value.(string)
	return s
}

// lookUp returns the data of a legacy look-up.
func lookUp(t *testing.T, s http.Handler, id string) any {
	t.Helper()
	status, answer := ask(t, s, "GET", "/v1/videos/text2video/"+id, "")
	if status != http.StatusOK {
		t.Fatalf("look %s up: %d %v", id, status, answer)
	}
	return answer["data"]
}

// videoLink returns the video's link in a legacy look-up's data or callback.
func videoLink(data any) string { return text(data, "task_result", "videos", "url") }

func decodeBody(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

// settle waits in real time until nothing more will happen.
func settle(t *testing.T, s *Simulator) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for s.Stats().Jobs.InHand > 0 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still unfinished after 30 s: %+v", s.Stats())
		}
	}
}
