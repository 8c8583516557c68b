package ingest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestUnsignedCallbackNeedsTokenAndDoesNotPassItOn(t *testing.T) {
	const completed = `{"id":"881","status":"succeeded","outputs":[{"type":"video","url":"https://evil.example/v.mp4"}]}`
	tests := []struct {
		name, token, body string
		closed            error
		status            int
		answer            string
		queued            int
	}{
		{"the token", callbackToken, completed, nil, 200, `{"received": true}`, 1},
		{"the token before it", olderToken, completed, nil, 200, `{"received": true}`, 1},
		{"legacy", callbackToken, `{"task_id":"881","task_status":"succeed"}`, nil, 200, `{"received": true}`, 1},
		{"another token", "a-token-of-the-test-ABCDEF-0123456788", completed, nil, 404, `{"error": "not found"}`, 0},
		{"a part of the token", callbackToken[:20], completed, nil, 404, `{"error": "not found"}`, 0},
		{"no token", "", completed, nil, 404, `{"error": "not found"}`, 0},
		{"no job", callbackToken, `{"status":"succeeded"}`, nil, 400, `{"error": "body has neither \"id\" nor \"task_id\": want one of them"}`, 0},
		{"nobody asks Kling", callbackToken, completed, errors.New("no worker asks"), 503, `{"error": "unsigned callbacks are not accepted: no worker asks"}`, 0},
		{"nobody asks Kling, and another token", "guess", completed, errors.New("no worker asks"), 404, `{"error": "not found"}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, 0)
			f.closed = tt.closed
			got := f.do(httptest.NewRequest(http.MethodPost, "/webhooks/klingai/t/"+tt.token, strings.NewReader(tt.body)))
			if got.Code != tt.status || got.Body.String() != tt.answer {
				t.Errorf("answered %d %s, want %d %s", got.Code, got.Body, tt.status, tt.answer)
			}
			if len(f.queue.tasks) != tt.queued {
				t.Fatalf("%d tasks queued, want %d", len(f.queue.tasks), tt.queued)
			}
			for _, task := range f.queue.tasks {
				ev, err := tasks.DecodeEvent(task.Payload)
				if err != nil || ev.Source != source.CallbackName || ev.Type != source.TypeCallback || ev.Job.ID != "881" {
					t.Errorf("queued %+v, %v", ev, err)
				}
				if strings.Contains(string(task.Payload)+task.ID, "token-of-the-test") {
					t.Errorf("the token is in the task: %s %s", task.ID, task.Payload)
				}
			}
			for _, entry := range f.logs.All() {
				if line := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(line, "token-of-the-test") {
					t.Errorf("the token is in the log: %s", line)
				}
			}
		})
	}
}

// Strangers with a leaked token cannot fill the database or block the honest sender's other
// token.
func TestUnsignedCallbacksAreBounded(t *testing.T) {
	f := newFixture(t, 1<<20)
	send := func(token, body string) int {
		return f.do(httptest.NewRequest(http.MethodPost, "/webhooks/klingai/t/"+token, strings.NewReader(body))).Code
	}
	callback := func(i, size int) string {
		return fmt.Sprintf(`{"id":"881","status":"processing","message":"%d %s"}`, i, strings.Repeat("x", size))
	}
	for i := range 60 {
		if got := send(callbackToken, callback(i, 1<<20)); got != http.StatusRequestEntityTooLarge {
			t.Fatalf("a callback of 1 MiB is answered %d, want 413", got)
		}
	}
	const count = 10_000
	for i := range count {
		f.now = f.now.Add(200 * time.Millisecond)
		if got := send(callbackToken, callback(i, 1<<10)); got != http.StatusOK {
			t.Fatalf("callback %d is answered %d, want 200", i, got)
		}
	}
	events, ids, size := map[string]bool{}, map[string]bool{}, 0
	for _, task := range f.queue.tasks {
		ev, err := tasks.DecodeEvent(task.Payload)
		testenv.NoError(t, err)
		events[ev.ID], ids[task.ID], size = true, true, max(size, len(task.Payload))
	}
	if len(events) != 1 || len(ids) != count || size > 300 {
		t.Errorf("%d events in %d tasks of at most %d bytes, want 1 event and a task for each of %d callbacks", len(events), len(ids), size, count)
	}
	for range 100 {
		send(callbackToken, callback(0, 0))
	}
	r := httptest.NewRequest(http.MethodPost, "/webhooks/klingai/t/"+callbackToken, strings.NewReader(callback(0, 0)))
	if got := f.do(r); got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" {
		t.Errorf("a flood is answered %d, Retry-After %q; want 503", got.Code, got.Header().Get("Retry-After"))
	}
	if got := send(olderToken, callback(0, 0)); got != http.StatusOK {
		t.Errorf("the other token's callback is answered %d, want 200", got)
	}
}
