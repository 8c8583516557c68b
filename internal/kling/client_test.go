package kling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/klinghook/klinghook/tasks"
)

const (
	testKey = "hunter2-hunter2"
	testURL = "https://example.com/webhooks/klingai"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestClient(t *testing.T, baseURL string) *API {
	t.Helper()
	c, err := New(Config{BaseURL: baseURL, APIKey: testKey, Rate: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve starts a server with one handler.
func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv
}

func TestNew(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		base string
		want string // the error; empty for none
	}{
		{"defaults", Config{APIKey: testKey}, DefaultBaseURL, ""},
		{"another host", Config{BaseURL: "https://api-singapore.klingai.com/", APIKey: testKey}, "https://api-singapore.klingai.com/", ""},
		{"a relay's path", Config{BaseURL: "https://relay.example/kling", APIKey: testKey}, "https://relay.example/kling", ""},
		{"http to localhost", Config{BaseURL: "http://localhost:8080", APIKey: testKey}, "http://localhost:8080", ""},
		{"http to ::1", Config{BaseURL: "http://[::1]:8080", APIKey: testKey}, "http://[::1]:8080", ""},
		{"key with a line end", Config{APIKey: testKey + "\n"}, DefaultBaseURL, ""},
		{"http elsewhere", Config{BaseURL: "http://api.klingai.com", APIKey: testKey}, "", "must begin with https://"},
		{"http to a lookalike", Config{BaseURL: "http://127.0.0.1.example", APIKey: testKey}, "", "must begin with https://"},
		{"no scheme", Config{BaseURL: "api.klingai.com", APIKey: testKey}, "", "must be a scheme, a host"},
		{"user in the URL", Config{BaseURL: "https://bob:hunter2@api.klingai.com", APIKey: testKey}, "", "nothing else"},
		{"query in the URL", Config{BaseURL: "https://api.klingai.com?key=hunter2", APIKey: testKey}, "", "nothing else"},
		{"not a URL", Config{BaseURL: "https://hunter2 %zz", APIKey: testKey}, "", "cannot be read"},
		{"no key", Config{APIKey: " "}, "", "set KLINGAI_API_KEY"},
		{"no requests at all", Config{APIKey: testKey, Rate: -1}, "", "above 0"},
		{"a rate that is not a number", Config{APIKey: testKey, Rate: math.NaN()}, "", "above 0"},
		{"no limit", Config{APIKey: testKey, Rate: math.Inf(1)}, "", "above 0"},
		{"two keys", Config{APIKey: "hunter2 hunter2"}, "", "one key and nothing else"},
		{"a key beyond ASCII", Config{APIKey: "hunter2é"}, "", "the API key has characters"},
		{"both kinds of keys", Config{APIKey: "hunter2", AccessKey: "hunter3", SecretKey: "hunter4"}, "", "keep the API key"},
		{"no secret key", Config{AccessKey: "hunter3"}, "", "only one of access key and secret key"},
		{"no access key", Config{SecretKey: "hunter4"}, "", "only one of access key and secret key"},
		{"two secret keys", Config{AccessKey: "hunter3", SecretKey: "hunter4 hunter4"}, "", "the secret key has characters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(tt.cfg)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if c.base.String() != tt.base || c.keys.apiKey != testKey || c.http.Timeout != 30*time.Second {
					t.Errorf("base %s, key %q, timeout %s", c.base, c.keys.apiKey, c.http.Timeout)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("err = %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter") {
				t.Errorf("%q shows a secret", err)
			}
		})
	}
}

func TestErrorsAreShortAndShowNoQuery(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://a.example:x/?sig=hunter2&"+strings.Repeat("x", 1<<17))
		w.WriteHeader(http.StatusFound)
	})
	_, err := newTestClient(t, srv.URL).Job(t.Context(), "1", KindText2Video)
	if err == nil || len(err.Error()) > 1000 || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "Location") {
		t.Errorf("err = %.1000v", err)
	}
	if _, err := newTestClient(t, srv.URL).Job(t.Context(), strings.Repeat("1", 1<<17)); err == nil || len(err.Error()) > 1000 {
		t.Errorf("err = %.1000v", err)
	}
}

func TestRegisterWebhookSendsTheSeedRequest(t *testing.T) {
	var wantURL string
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := []string{r.Method, r.URL.Path, string(body)}
		for _, name := range []string{"Authorization", "Content-Type", "Accept", "User-Agent"} {
			got = append(got, r.Header.Get(name))
		}
		want := []string{
			"POST", "/relay/v1/webhooks", `{"url":"` + wantURL + `","events":["video.completed","video.failed"],"active":true}`,
			"Bearer " + testKey, "application/json", "application/json", "klinghook",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("request (-want +got)\n%s", diff)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"wh_1","secret":"s1","url":"…"}`)
	})
	for _, wantURL = range []string{testURL, "http://localhost:5000/webhooks/klingai"} { // Kling is on this machine too
		got, err := newTestClient(t, srv.URL+"/relay/").RegisterWebhook(context.Background(), wantURL, []string{tasks.TypeCompleted, tasks.TypeFailed})
		if want := (Webhook{"wh_1", "s1"}); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestRegisterWebhookReadsAnswers(t *testing.T) {
	tests := []struct {
		name, answer string
		want         Webhook
		problem      string // in the error; empty for success
	}{
		{"number as id", `{"id":12345678901234567890,"secret":"s1"}`, Webhook{"12345678901234567890", "s1"}, ""},
		{"no id", `{"secret":"s1"}`, Webhook{"", "s1"}, ""},
		{"envelope", `{"code":0,"message":"SUCCEED","request_id":"r1","data":{"id":7,"secret":"s1"}}`, Webhook{"7", "s1"}, ""},
		{"envelope, code as text", `{"code":"0","data":{"id":"wh_1","secret":"s1"}}`, Webhook{"wh_1", "s1"}, ""},
		{"envelope with a list", `{"code":0,"data":[{"id":"wh_1","secret":"s1"}]}`, Webhook{"wh_1", "s1"}, ""},
		{"empty", "", Webhook{}, "did not send a JSON object"},
		{"HTML", "<html>hunter3</html>", Webhook{}, "did not send a JSON object"},
		{"null", "null", Webhook{}, "did not send a JSON object"},
		{"endless", `{"secret":"` + strings.Repeat("x", 2*maxAnswer) + `"}`, Webhook{}, "more than 8388608 bytes"},
		{"no secret", `{"id":"wh_1"}`, Webhook{"wh_1", ""}, `without a secret (id "wh_1")`},
		{"empty data", `{"code":0,"data":null}`, Webhook{}, `without a secret (id "")`},
		{"list of nothing", `{"code":0,"data":[]}`, Webhook{}, `without a secret (id "")`},
		{"secret of another type", `{"id":"wh_1","secret":{"hunter3":1}}`, Webhook{"wh_1", ""}, "without a secret"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.answer) })
			got, err := newTestClient(t, srv.URL).RegisterWebhook(context.Background(), testURL, []string{tasks.TypeCompleted})
			text := fmt.Sprint(err)
			if got != tt.want || (err != nil) != (tt.problem != "") || !strings.Contains(text, tt.problem) || strings.Contains(text, "hunter") {
				t.Errorf("got %+v, %v, want %+v and the error %q", got, err, tt.want, tt.problem)
			}
		})
	}
}

func TestRegisterWebhookChecksItsArguments(t *testing.T) {
	completed := []string{tasks.TypeCompleted}
	tests := []struct {
		name, url string
		events    []string
		want      string
	}{
		{"http", "http://example.com/hook", completed, "https://example.com/webhooks/klingai"},
		{"relative", "/webhooks/klingai", completed, "a tunnel gives you one"},
		{"no host", "https:///hook", completed, "can reach from outside"},
		{"not a URL", "https://%zz", completed, "can reach from outside"},
		{"this machine, with Kling elsewhere", "http://localhost:5000/webhooks/klingai", completed, "can reach from outside"},
		{"no events", testURL, nil, "name at least one of video.created"},
		{"unknown events", testURL, []string{"video.done", tasks.TypeFailed, ""}, `unknown events "video.done", "": Kling has video.created, video.processing, video.completed, video.failed, video.cancelled`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newTestClient(t, "https://kling.invalid").RegisterWebhook(context.Background(), tt.url, tt.events)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("followed the redirect") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) })
		c := newTestClient(t, srv.URL)
		_, posted := c.RegisterWebhook(context.Background(), testURL, []string{tasks.TypeCompleted})
		_, got := c.Job(context.Background(), "1", KindText2Video)
		for _, err := range []error{posted, got} {
			if err == nil || !strings.Contains(err.Error(), "redirects are not followed") {
				t.Errorf("%d: err = %v", status, err)
			}
		}
	}
}

func TestUnreachableHostHidesTheURL(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	_, err := newTestClient(t, srv.URL+"/hunter3").RegisterWebhook(context.Background(), testURL, []string{tasks.TypeCompleted})
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "hunter") {
		t.Errorf("err = %v", err)
	}
}

func TestTruncatedAnswerIsAnError(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusUnauthorized} {
		srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"code":0,"data":`+newObject("1", "succeeded"))
		})
		jobs, err := newTestClient(t, srv.URL).Jobs(context.Background(), "1")
		var refused *APIError
		if isRefusal := errors.As(err, &refused); isRefusal != (status != http.StatusOK) || err == nil || len(jobs) != 0 {
			t.Errorf("%d: %d jobs, err = %v", status, len(jobs), err)
		}
	}
}
