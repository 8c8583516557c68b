package notify

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/klinghook/klinghook/tasks"
)

// newTestForward returns a notifier with the endpoint as its only destination.
func newTestForward(t *testing.T, endpoint string) (n *Notifier, name string) {
	t.Helper()
	n, err := New(Config{ForwardURLs: []string{endpoint}, ForwardSecret: testSecret, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n, n.Names()[0]
}

func TestForwardIsSignedOnEveryAttempt(t *testing.T) {
	receiver, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := receiver.Verify(body, r.Header); err != nil {
			t.Error(err)
		}
		got := []string{r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), r.Header.Get("User-Agent"), r.Header.Get("Webhook-Id")}
		want := []string{http.MethodPost, "/in?key=1", "application/json", "klinghook", "klingai-0a1b2c:video-completed"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("request (-want +got)\n%s", diff)
		}
		bodies = append(bodies, string(body))
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	n, name := newTestForward(t, srv.URL+"/in?key=1")
	for range 2 {
		if _, err := n.Send(context.Background(), name, testMessage()); err != nil {
			t.Fatal(err)
		}
	}
	if len(bodies) != 2 || bodies[0] != bodies[1] {
		t.Errorf("the attempts sent %q, want the same body twice", bodies)
	}
}

func TestForwardAnswers(t *testing.T) {
	tests := []struct {
		name       string
		status     int
		header     map[string]string
		want       []string // empty: success
		permanent  bool
		retryAfter time.Duration
	}{
		{name: "200", status: 200},
		{name: "299", status: 299},
		{name: "307", status: 307, header: map[string]string{"Location": "/elsewhere?token=hunter2"}, want: []string{"307 Temporary Redirect", "not followed"}},
		{
			name: "302 to nowhere", status: 302, header: map[string]string{"Location": "https://a.example:x/?token=hunter2&" + strings.Repeat("x", 1<<17)},
			want: []string{"parse Location"},
		},
		{name: "304", status: 304, want: []string{"304"}},
		{name: "404", status: 404, want: []string{"404 Not Found"}},
		{name: "410", status: 410, want: []string{"410 Gone", "remove its URL"}, permanent: true},
		{name: "429", status: 429, want: []string{"429 Too Many Requests"}},
		{name: "429 with a wait", status: 429, header: map[string]string{"Retry-After": "17"}, want: []string{"429"}, retryAfter: 17 * time.Second},
		{name: "500", status: 500, header: map[string]string{"Retry-After": "17"}, want: []string{"500 Internal Server Error"}},
		{name: "503 with a long wait", status: 503, header: map[string]string{"Retry-After": "86400"}, want: []string{"503"}, retryAfter: time.Hour},
		{name: "599", status: 599, want: []string{"answered 599"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests++
				for key, value := range tt.header {
					w.Header().Set(key, value)
				}
				w.WriteHeader(tt.status)
				if tt.status != http.StatusNotModified {
					_, _ = io.WriteString(w, "the endpoint's own words")
				}
			}))
			defer srv.Close()
			n, name := newTestForward(t, strings.Replace(srv.URL, "http://", "http://user:hunter2@", 1)+"/?token=hunter2")
			_, err := n.Send(context.Background(), name, testMessage())
			if requests != 1 {
				t.Errorf("%d requests", requests)
			}
			if len(tt.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			wantText(t, err.Error(), append(tt.want, "notify forward-127.0.0.1-"), []string{"hunter2", "own words"})
			if tasks.IsPermanent(err) != tt.permanent {
				t.Errorf("permanent = %t", !tt.permanent)
			}
			if wait := tasks.RetryAfterOf(err); wait != tt.retryAfter {
				t.Errorf("retry after %s, want %s", wait, tt.retryAfter)
			}
		})
	}
}

func TestForwardWithoutAnswerIsRetried(t *testing.T) {
	gone, silent := httptest.NewServer(nil), httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	gone.Close()
	defer silent.Close()
	for endpoint, want := range map[string]string{gone.URL: "connection refused", silent.URL: "deadline exceeded"} {
		n, name := newTestForward(t, endpoint+"/hunter2?token=hunter2")
		n.timeout = 200 * time.Millisecond
		_, err := n.Send(context.Background(), name, testMessage())
		if err == nil || tasks.IsPermanent(err) {
			t.Fatalf("err = %v, want one to retry", err)
		}
		wantText(t, err.Error(), []string{want}, []string{"hunter2"})
	}
}

func TestForwardIgnoresLongAnswers(t *testing.T) {
	stopped := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(stopped)
		chunk := strings.Repeat("x", 64<<10)
		for {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	n, name := newTestForward(t, srv.URL)
	if _, err := n.Send(context.Background(), name, testMessage()); err != nil {
		t.Error(err)
	}
	<-stopped
}
