package admin_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/tasks"
)

const token = "a-token-of-the-test-ABCDEF-0123456789"

// fakeTracker stores the API and the prompt of each job, all of Kling.
type fakeTracker struct {
	jobs map[string]string
	err  error
}

func (f *fakeTracker) Track(_ context.Context, job tasks.JobKey, m tasks.Metadata, _ time.Time) (bool, error) {
	if f.err != nil {
		return false, f.err
	}
	_, known := f.jobs[job.String()]
	f.jobs[job.String()] = m.API
	if m.Prompt != nil {
		f.jobs[job.String()] += *m.Prompt
	}
	return !known, nil
}

func TestPutJob(t *testing.T) {
	const bearer = "Bearer " + token
	tests := []struct {
		name, method, path, authorization, body string
		err                                     error
		status                                  int
		answer                                  string // part of the answer
		job, api                                string // the kept job
	}{
		{"a new job", "PUT", "/jobs/881", bearer, "", nil, 201, `{"created":true,"id":"881","platform":"kling"}`, "881", ""},
		{"a known job", "PUT", "/jobs/known", bearer, "", nil, 200, `"created":false`, "known", ""},
		{"an API", "PUT", "/jobs/881", bearer, `{"api":"text2video"}`, nil, 201, `"created":true`, "881", "text2video"},
		{"an id with a slash", "PUT", "/jobs/a%2Fb", bearer, "", nil, 201, `"id":"a/b"`, "a/b", ""},
		{"a path below an id", "PUT", "/jobs/a/b", bearer, "", nil, 400, "%2F", "", ""},
		{"scheme in lower case", "PUT", "/jobs/881", "bearer " + token, "", nil, 201, `"id":"881"`, "881", ""},
		{"another scheme", "PUT", "/jobs/881", "Basic " + token, "", nil, 401, "KLINGHOOK_API_TOKEN", "", ""},
		{"no token", "PUT", "/jobs/881", "", "", nil, 401, "KLINGHOOK_API_TOKEN", "", ""},
		{"another token", "PUT", "/jobs/881", bearer[:len(bearer)-1], "", nil, 401, "KLINGHOOK_API_TOKEN", "", ""},
		{"no bearer", "PUT", "/jobs/881", token, "", nil, 401, "KLINGHOOK_API_TOKEN", "", ""},
		{"an unknown API", "PUT", "/jobs/881", bearer, `{"api":"text3video"}`, nil, 400, "it must be one of tasks, text2video", "", ""},
		{"a prompt", "PUT", "/jobs/881", bearer, `{"prompt":"a cat"}`, nil, 201, `"created":true`, "881", "a cat"},
		{"a wrong field", "PUT", "/jobs/881", bearer, `{"prompt":"a cat","model":1}`, nil, 400, `\"model\" is a number; send a string`, "", ""},
		{"the platform", "PUT", "/jobs/881", bearer, `{"platform":"kling"}`, nil, 201, `"created":true`, "881", ""},
		{"an unknown platform", "PUT", "/jobs/881", bearer, `{"platform":"king"}`, nil, 400, `\"platform\" is \"king\"; send \"kling\" or nothing`, "", ""},
		{"an unknown field", "PUT", "/jobs/881", bearer, `{"kind":"text2video"}`, nil, 400, "unknown field", "", ""},
		{"no JSON", "PUT", "/jobs/881", bearer, `text2video`, nil, 400, "body is not JSON", "", ""},
		{"a large body", "PUT", "/jobs/881", bearer, `{"prompt":"` + strings.Repeat("a", 65536) + `"}`, nil, 400, "send at most 65536 bytes", "", ""},
		{"a blank id", "PUT", "/jobs/%20", bearer, "", nil, 400, "is empty", "", ""},
		{"an id that is not text", "PUT", "/jobs/%ff%00", bearer, "", nil, 400, "error", "", ""},
		{"a long id", "PUT", "/jobs/" + strings.Repeat("a", 300), bearer, "", nil, 400, "longer than", "", ""},
		{"no database", "PUT", "/jobs/881", bearer, "", errors.New("no database at postgres://user:hush@db"), 503, "send it again", "", ""},
		{"another method", "POST", "/jobs/881", bearer, "", nil, 405, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tracker := &fakeTracker{jobs: map[string]string{"known": ""}, err: tt.err}
			nothing := func(http.ResponseWriter, *http.Request) {}
			private := admin.Handler(admin.Config{Live: nothing, Ready: nothing, Metrics: admin.NewMetrics("v1"), Jobs: admin.Jobs(admin.JobsConfig{
				Tokens: []string{"another-token-of-the-test-0123456789", token}, Tracker: tracker, APIs: []string{"tasks", "text2video"}, Log: zap.NewNop(),
			})})
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
			if tt.authorization != "" {
				r.Header.Set("Authorization", tt.authorization)
			}
			w := httptest.NewRecorder()
			private.ServeHTTP(w, r)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.answer) || strings.Contains(w.Body.String(), "hush") {
				t.Errorf("answered %d %s, want %d with %s", w.Code, w.Body, tt.status, tt.answer)
			}
			delete(tracker.jobs, "known")
			if tt.job == "" || tt.job == "known" {
				if len(tracker.jobs) > 0 {
					t.Errorf("kept %v", tracker.jobs)
				}
				return
			}
			if api, kept := tracker.jobs[tt.job]; !kept || api != tt.api {
				t.Errorf("kept %v, want %s as %q", tracker.jobs, tt.job, tt.api)
			}
		})
	}
}
