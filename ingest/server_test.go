package ingest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	secret         = "s3cret-of-the-test"
	officialSecret = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
	path           = "/webhooks/klingai"
	callbackToken  = "a-token-of-the-test-ABCDEF-0123456789"
	olderToken     = "an-old-token-of-the-test-0123456789"
	created        = `{"event":"video.created","timestamp":"2025-01-15T10:25:00Z","data":{"job_id":"vid_1"}}`
)

// fakeQueue takes tasks, or returns what answer returns.
type fakeQueue struct {
	mu     sync.Mutex
	tasks  []tasks.Task
	answer func(ctx context.Context) (bool, error)
	// took, if set, gets each task; then the call waits for hang, if set.
	took chan<- tasks.Task
	hang <-chan struct{}
}

func (q *fakeQueue) Enqueue(ctx context.Context, t tasks.Task) (bool, error) {
	if q.took != nil {
		q.took <- t
	}
	if q.hang != nil {
		<-q.hang
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks = append(q.tasks, t)
	if q.answer != nil {
		return q.answer(ctx)
	}
	return false, nil
}

// fixture is a server with its parts.
type fixture struct {
	server *ingest.Server
	queue  *fakeQueue
	logs   *observer.ObservedLogs
	reg    *prometheus.Registry
	now    time.Time
	closed error // why unsigned callbacks are refused
}

func newFixture(t *testing.T, maxBody int64, options ...func(*ingest.Config)) *fixture {
	t.Helper()
	secrets := map[string][]string{
		"KLINGAI_WEBHOOK_SECRET": {"old", secret}, "KLINGAI_OFFICIAL_WEBHOOK_SECRET": {officialSecret},
		"KLINGHOOK_CALLBACK_TOKEN": {olderToken, callbackToken},
	}
	endpoints, disabled, err := ingest.Endpoints(func(setting string) []string { return secrets[setting] })
	if err != nil || len(disabled) > 0 {
		t.Fatalf("endpoints: disabled %v, %v", disabled, err)
	}
	f := &fixture{}
	for i := range endpoints {
		if len(endpoints[i].Tokens) > 0 {
			endpoints[i].Open = func(context.Context) error { return f.closed }
		}
	}
	core, logs := observer.New(zapcore.DebugLevel)
	*f = fixture{queue: &fakeQueue{}, logs: logs, reg: prometheus.NewRegistry(), now: time.Unix(1781080800, 0)}
	ok := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	cfg := ingest.Config{
		Endpoints: endpoints, Queue: f.queue, MaxBody: maxBody, EnqueueTimeout: 50 * time.Millisecond,
		Live: ok, Ready: ok, Log: zap.New(core), Metrics: f.reg, Now: func() time.Time { return f.now },
	}
	for _, option := range options {
		option(&cfg)
	}
	f.server = ingest.New(cfg)
	return f
}

func (f *fixture) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.server.ServeHTTP(w, r)
	return w
}

// counted returns the counts of deliveries by source and outcome.
func (f *fixture) counted(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := f.reg.Gather()
	testenv.NoError(t, err)
	counts := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "klinghook_deliveries_total" {
				labels := m.GetLabel() // outcome, source
				counts[labels[1].GetValue()+" "+labels[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return counts
}

// sign returns the seed protocol's signature, without using the package under test.
func sign(key, body string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

func post(body, signature string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	if signature != "" {
		r.Header.Set("X-Kling-Signature", signature)
	}
	return r
}

func TestAnswersAreTheContract(t *testing.T) {
	signed := func(body string) *http.Request { return post(body, "sha256="+sign(secret, body)) }
	chunked := func(body string) *http.Request {
		r := signed(body)
		r.ContentLength = -1
		return r
	}
	big := `{"event":"x","pad":"` + strings.Repeat("a", 1024) + `"}`
	tests := []struct {
		name       string
		request    *http.Request
		wantStatus int
		wantBody   string
		wantQueued int
	}{
		{"signed", signed(created), 200, `{"received": true}`, 1},
		{"signed by the other secret", post(created, "sha256="+sign("old", created)), 200, `{"received": true}`, 1},
		{"without the prefix", post(created, sign(secret, created)), 200, `{"received": true}`, 1},
		{"in upper case", post(created, "sha256="+strings.ToUpper(sign(secret, created))), 200, `{"received": true}`, 1},
		{"unknown type", signed(`{"event":"video.sparkled"}`), 200, `{"received": true}`, 1},
		{"slash at the end", func() *http.Request { r := signed(created); r.URL.Path += "/"; return r }(), 200, `{"received": true}`, 1},
		{"no signature", post(created, ""), 401, `{"error": "Invalid signature"}`, 0},
		{"another's signature", post(created, "sha256="+sign("guess", created)), 401, `{"error": "Invalid signature"}`, 0},
		{"signature of another body", post(created+" ", "sha256="+sign(secret, created)), 401, `{"error": "Invalid signature"}`, 0},
		{"unsigned nonsense is not parsed", post("{", ""), 401, `{"error": "Invalid signature"}`, 0},
		{"empty key", post(created, "sha256="+sign("", created)), 401, `{"error": "Invalid signature"}`, 0},
		{"not JSON", signed("event=video.created"), 400, `"error": "body is not JSON`, 0},
		{"empty", signed(""), 400, `"error": "`, 0},
		{"array", signed("[]"), 200, `{"received": true}`, 1},
		{"no event", signed(`{"data":{"job_id":"vid_1"}}`), 200, `{"received": true}`, 1},
		{"no job", signed(`{"event":"video.completed","data":{}}`), 200, `{"received": true}`, 1},
		{"unsigned array", post("[]", ""), 401, `{"error": "Invalid signature"}`, 0},
		{"too large", signed(big), 413, `larger than 1000 bytes`, 0},
		{"too large, length not declared", chunked(big), 413, `larger than 1000 bytes`, 0},
		{"length not declared", chunked(created), 200, `{"received": true}`, 1},
		{"another method", httptest.NewRequest(http.MethodGet, path, nil), 405, `{"error": "method not allowed"}`, 0},
		{"OPTIONS", httptest.NewRequest(http.MethodOptions, path, nil), 405, `{"error": "method not allowed"}`, 0},
		{"HEAD for health", httptest.NewRequest(http.MethodHead, "/healthz", nil), 200, "", 0},
		{"another path", httptest.NewRequest(http.MethodPost, "/webhooks/other", nil), 404, `{"error": "not found"}`, 0},
		{"alive", httptest.NewRequest(http.MethodGet, "/healthz", nil), 200, "", 0},
		{"ready", httptest.NewRequest(http.MethodGet, "/readyz", nil), 200, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, 1000)
			w := f.do(tt.request)
			if w.Code != tt.wantStatus || !strings.Contains(w.Body.String(), tt.wantBody) {
				t.Errorf("answer %d %s; want %d %s", w.Code, w.Body, tt.wantStatus, tt.wantBody)
			}
			if len(f.queue.tasks) != tt.wantQueued {
				t.Errorf("%d tasks queued, want %d", len(f.queue.tasks), tt.wantQueued)
			}
		})
	}
}

func TestSignedBodyOfUnknownShapeIsKept(t *testing.T) {
	f := newFixture(t, 0)
	body := `{"event":"video.completed","data":{"task":"vid_1"}}`
	for range 2 {
		if w := f.do(post(body, "sha256="+sign(secret, body))); w.Code != 200 {
			t.Fatal(w.Code, w.Body)
		}
	}
	event, err := tasks.DecodeEvent(f.queue.tasks[0].Payload)
	if err != nil || event.ID != tasks.EventID("klingai", "", []byte(body)) || event.Type != source.TypeUnreadable || string(event.Body) != body {
		t.Errorf("queued %+v, %v", event, err)
	}
	if got := f.counted(t)["klingai unreadable"]; got < 1 {
		t.Errorf("counted %v as unreadable", got)
	}
	if logs := f.logs.FilterMessage("delivery kept, but not understood").All(); len(logs) == 0 {
		t.Error("nothing is logged")
	}
}

func TestQueuedEventContainsTheWholeDelivery(t *testing.T) {
	f := newFixture(t, 0)
	if w := f.do(post(created, "sha256="+sign(secret, created))); w.Code != 200 {
		t.Fatal(w.Code)
	}
	body := `{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}`
	r := httptest.NewRequest(http.MethodPost, "/webhooks/klingai/official", strings.NewReader(body))
	r.Header.Set("webhook-id", "9876543210")
	r.Header.Set("webhook-timestamp", "1781080794")
	r.Header.Set("webhook-signature", "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=")
	r.Header.Set("Authorization", "Bearer not-to-be-kept")
	if w := f.do(r); w.Code != 200 {
		t.Fatalf("Kling's own vector: %d %s", w.Code, w.Body)
	}
	var got []tasks.Event
	for _, task := range f.queue.tasks {
		ev, err := tasks.DecodeEvent(task.Payload)
		testenv.NoError(t, err)
		if task.ID != "event:record:"+ev.ID {
			t.Errorf("task id %q for event %q", task.ID, ev.ID)
		}
		got = append(got, ev)
	}
	sum := sha256.Sum256([]byte(created))
	want := []tasks.Event{
		{
			ID: "klingai:" + hex.EncodeToString(sum[:]), Source: "klingai", Type: "video.created", Job: tasks.KlingJob("vid_1"), ReceivedAt: f.now.UTC(),
			Secret: source.Fingerprint(secret), Headers: map[string]string{"X-Kling-Signature": "sha256=" + sign(secret, created)}, Body: []byte(created),
		},
		{
			ID: "klingai-official:9876543210", Source: "klingai-official", Type: "video.completed", Job: tasks.KlingJob("1234567890"), ReceivedAt: f.now.UTC(),
			Secret: source.Fingerprint(officialSecret), Body: []byte(body),
			Headers: map[string]string{"Webhook-Id": "9876543210", "Webhook-Timestamp": "1781080794", "Webhook-Signature": "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4="},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestQueueFailureIsAnsweredWith503(t *testing.T) {
	tests := []struct {
		name   string
		answer func(ctx context.Context) (bool, error)
		want   int
	}{
		{"unreachable", func(context.Context) (bool, error) { return false, errors.New("connection refused") }, 503},
		{"hung", func(ctx context.Context) (bool, error) { <-ctx.Done(); return false, ctx.Err() }, 503},
		{"has it already", func(context.Context) (bool, error) { return true, nil }, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, 0)
			f.queue.answer = tt.answer
			w := f.do(post(created, sign(secret, created)))
			if w.Code != tt.want {
				t.Errorf("answer %d, want %d", w.Code, tt.want)
			}
			if got := w.Header().Get("Retry-After"); (got != "") != (tt.want == 503) {
				t.Errorf("Retry-After %q with %d", got, w.Code)
			}
			if strings.Contains(w.Body.String(), "refused") {
				t.Errorf("the answer reveals the error: %s", w.Body)
			}
		})
	}
}

func TestTooManyEnqueuesAreRefusedAtOnce(t *testing.T) {
	const most = 1024
	f := newFixture(t, 0)
	took, hang := make(chan tasks.Task), make(chan struct{})
	f.queue.took, f.queue.hang = took, hang
	var sending sync.WaitGroup
	for i := range most {
		body := fmt.Sprintf(`{"event":"video.created","data":{"job_id":"vid_%d"}}`, i)
		sending.Go(func() {
			if w := f.do(post(body, sign(secret, body))); w.Code != http.StatusOK {
				t.Errorf("a delivery is answered %d, want 200", w.Code)
			}
		})
		<-took
	}
	w := f.do(post(created, sign(secret, created)))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "too many deliveries at once") {
		t.Errorf("one more is answered %d %s", w.Code, w.Body)
	}
	close(hang)
	sending.Wait()
}

func TestEventIsQueuedAfterItsSenderDisconnects(t *testing.T) {
	f := newFixture(t, 0)
	f.queue.answer = func(ctx context.Context) (bool, error) { return false, ctx.Err() }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if w := f.do(post(created, sign(secret, created)).WithContext(ctx)); w.Code != 200 {
		t.Errorf("answer %d, want 200", w.Code)
	}
}

func TestPanicIsAnsweredWith500(t *testing.T) {
	f := newFixture(t, 0)
	f.queue.answer = func(context.Context) (bool, error) { panic("boom") }
	if w := f.do(post(created, sign(secret, created))); w.Code != 500 || strings.Contains(w.Body.String(), "boom") {
		t.Errorf("answer %d %s, want 500 that reveals nothing", w.Code, w.Body)
	}
}

func TestLogHasOneLinePerDeliveryAndNoSecrets(t *testing.T) {
	f := newFixture(t, 0)
	body := `{"event":"video.created","data":{"job_id":"vid_1","prompt":"a-private-prompt"}}`
	f.do(post(body, "sha256="+sign(secret, body)))
	f.do(post(body, "sha256="+sign("guess", body)))
	entries := f.logs.All()
	if len(entries) != 2 {
		t.Fatalf("%d lines for 2 deliveries", len(entries))
	}
	accepted := entries[0].ContextMap()
	for _, key := range []string{"source", "event_id", "job_id", "type", "duration"} {
		if _, ok := accepted[key]; !ok {
			t.Errorf("the line of an accepted delivery has no %s: %v", key, accepted)
		}
	}
	for _, entry := range entries {
		line := fmt.Sprint(entry.Message, entry.ContextMap())
		for _, private := range []string{secret, "a-private-prompt", sign(secret, body), sign("guess", body)} {
			if strings.Contains(line, private) {
				t.Errorf("log line contains %q: %s", private, line)
			}
		}
	}
}

func TestForgedFloodIsCountedAndLoggedInSamples(t *testing.T) {
	f := newFixture(t, 0)
	const n = 500
	for range n {
		f.do(post(created, "sha256="+sign("guess", created)))
	}
	if lines := f.logs.Len(); lines > n/10 {
		t.Errorf("%d lines for %d forged deliveries", lines, n)
	}
	want := map[string]float64{"klingai invalid_signature": n, "unknown wrong_path": 0}
	for _, source := range []string{"klingai", "klingai-official", "klingai-unsigned"} {
		for _, outcome := range []string{"accepted", "busy", "duplicate", "invalid_signature", "malformed", "queue_unreachable", "unreadable"} {
			want[source+" "+outcome] += 0 // the counter exists
		}
	}
	if diff := cmp.Diff(want, f.counted(t)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestEndpointsNeedSecrets(t *testing.T) {
	_, _, err := ingest.Endpoints(func(string) []string { return []string{"not base64!"} })
	if err == nil || !strings.Contains(err.Error(), "KLINGAI_OFFICIAL_WEBHOOK_SECRET") || strings.Contains(err.Error(), "not base64!") {
		t.Errorf("err = %v, want one that names the setting and not the secret", err)
	}
	enabled, disabled, err := ingest.Endpoints(func(setting string) []string {
		if setting == "KLINGAI_WEBHOOK_SECRET" {
			return []string{secret}
		}
		return nil
	})
	if err != nil || len(enabled) != 1 || len(disabled) != 2 || disabled[0].Name != "klingai-official" || disabled[1].Name != source.CallbackName {
		t.Errorf("enabled %d, disabled %v, %v", len(enabled), disabled, err)
	}
}
