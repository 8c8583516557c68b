package ingest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// newSampled returns a fixture whose samples go to took.
func newSampled(t *testing.T) (f *fixture, took <-chan tasks.Task) {
	t.Helper()
	f = newFixture(t, 0)
	samples := make(chan tasks.Task, 1)
	f.queue.took = samples
	f.server.Start(t.Context())
	t.Cleanup(f.server.Close)
	return f, samples
}

func TestRefusedDeliveryIsSampledWithoutCredentials(t *testing.T) {
	f, took := newSampled(t)
	body := strings.Repeat("x", 5000)
	r := post(body, "sha256="+sign("guess", body))
	r.RemoteAddr = "192.0.2.1:1234"
	r.Header.Set("Authorization", "Bearer hush")
	r.Header.Set("X-Api-Key", "hush")
	r.Header.Set("User-Agent", "curl/8")
	if w := f.do(r); w.Code != http.StatusUnauthorized {
		t.Fatal(w.Code)
	}
	got, err := tasks.DecodeRejection((<-took).Payload)
	testenv.NoError(t, err)
	if !strings.Contains(got.Detail, "signature does not match; secrets tried: 2; body of 5000 bytes; ") || got.ID == "" {
		t.Errorf("detail %q, id %q", got.Detail, got.ID)
	}
	want := tasks.Rejection{
		ID: got.ID, ReceivedAt: f.now.UTC(), Source: "klingai", Reason: "invalid_signature", Detail: got.Detail, Peer: "192.0.2.1:1234",
		Headers: map[string]string{"Authorization": "(11 bytes)", "X-Api-Key": "(4 bytes)", "X-Kling-Signature": "(71 bytes)", "User-Agent": "curl/8"},
		Body:    []byte(body[:4096]),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
}

func TestSampleIsBounded(t *testing.T) {
	f, took := newSampled(t)
	body := strings.Repeat("\x00", 500_000)
	r := post(body, "sha256="+sign("guess", body))
	for i := range 90 { // more than 100 in total are answered 431
		r.Header.Set(fmt.Sprintf("A-%d-%s", i, strings.Repeat("a", 200)), strings.Repeat("\"", 1000))
	}
	f.do(r)
	task := <-took
	if n := len(task.Payload); n > 32<<10 {
		t.Errorf("the sample has %d bytes, want 32 KiB at most", n)
	}
	got, err := tasks.DecodeRejection(task.Payload)
	if err != nil || len(got.Headers) != 32 || len(got.Body) != 4096 {
		t.Errorf("the sample has %d headers and %d bytes of the body, %v; want 32 and 4096", len(got.Headers), len(got.Body), err)
	}
}

// Proxies repeat the path, with its token, in headers.
func TestSampleHasNoSecretHeaders(t *testing.T) {
	f, took := newSampled(t)
	kept := map[string]string{"X-Request-Id": "req-1", "X-Forwarded-For": "192.0.2.7"}
	for _, token := range []string{callbackToken, "one-that-was-taken-back-hush"} {
		r := httptest.NewRequest(http.MethodPost, "/webhooks/klingai/t/"+token, strings.NewReader("{}"))
		for name, value := range kept {
			r.Header.Set(name, value)
		}
		for _, name := range []string{
			"Cookie", "Proxy-Authorization", "X-Credential", "X-Csrf", "X-Hub-Sig", "X-Jwt", "X-Passwd", "X-Payload-Hmac", "X-Session-Id", "X-Xsrf",
		} {
			r.Header.Set(name, "hush")
		}
		r.Header.Set("X-Original-Uri", "/webhooks/klingai/t/"+token)
		r.Header.Set("X-Forwarded-Uri", "/elsewhere/"+callbackToken)
		f.do(r)
		got, err := tasks.DecodeRejection((<-took).Payload)
		testenv.NoError(t, err)
		for name, value := range got.Headers {
			if strings.Contains(value, "hush") || strings.Contains(value, callbackToken) {
				t.Errorf("sample has %s: %s", name, value)
			}
		}
		for name, want := range kept {
			if got.Headers[name] != want {
				t.Errorf("sample has %s: %q, want %q", name, got.Headers[name], want)
			}
		}
	}
}

func TestForgedFloodIsSampledWithoutWaiting(t *testing.T) {
	f := newFixture(t, 0)
	hang := make(chan struct{})
	took := make(chan tasks.Task, 100)
	f.queue.took, f.queue.hang = took, hang
	f.server.Start(t.Context())
	for range 1000 { // would hang if one waited
		f.do(post(created, "sha256="+sign("guess", created)))
	}
	close(hang)
	f.server.Close()
	if n := len(took); n > 10 {
		t.Errorf("%d of 1000 refused deliveries went to the queue within a second, want 10 at most", n)
	}
}
