package ingest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/source"
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
		{"the token before it", "an-old-token-of-the-test-0123456789", completed, nil, 200, `{"received": true}`, 1},
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
				if err != nil || ev.Source != source.CallbackName || ev.Type != source.TypeCallback || ev.JobID != "881" {
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

func TestUnsignedCallbackIsOnlyAHint(t *testing.T) {
	all, err := source.All(source.NoSecrets)
	if err != nil {
		t.Fatal(err)
	}
	for body, api := range map[string]string{
		`{"id":"881","status":"succeeded","update_time":1,"outputs":[{"url":"https://evil.example/v.mp4"}]}`: tasks.APITasks,
		`{"task_id":"881","task_status":"failed","task_status_msg":"made up"}`:                               tasks.APILegacy,
	} {
		got, err := all[source.CallbackName].Update(tasks.Event{ID: "e", Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		if want := (tasks.JobUpdate{JobID: "881", EventID: "e", Unproven: true, API: api}); fmt.Sprint(*got) != fmt.Sprint(want) {
			t.Errorf("%s means %+v, want %+v", body, *got, want)
		}
	}
}
