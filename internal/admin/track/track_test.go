package track_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/admin/track"
)

const token = "a-token-of-the-test-ABCDEF-0123456789"

// fakeTracker knows some jobs.
type fakeTracker struct {
	jobs map[string]string
	err  error
}

func (f *fakeTracker) Track(_ context.Context, jobID, api string, _ time.Time) (bool, error) {
	if f.err != nil {
		return false, f.err
	}
	_, known := f.jobs[jobID]
	f.jobs[jobID] = api
	return !known, nil
}

func TestTrack(t *testing.T) {
	const bearer = "Bearer " + token
	tests := []struct {
		name, method, path, authorization, body string
		err                                     error
		status                                  int
		answer                                  string // a part of it
		job, api                                string // what was kept
	}{
		{"a new job", "PUT", "/jobs/881", bearer, "", nil, 201, `{"created":true,"id":"881"}`, "881", ""},
		{"a known job", "PUT", "/jobs/known", bearer, "", nil, 200, `"created":false`, "known", ""},
		{"where it is", "PUT", "/jobs/881", bearer, `{"api":"text2video"}`, nil, 201, `"created":true`, "881", "text2video"},
		{"an id with a slash", "PUT", "/jobs/a%2Fb", bearer, "", nil, 201, `"id":"a/b"`, "a/b", ""},
		{"a path below an id", "PUT", "/jobs/a/b", bearer, "", nil, 400, "%2F", "", ""},
		{"the scheme in other letters", "PUT", "/jobs/881", "bearer " + token, "", nil, 201, `"id":"881"`, "881", ""},
		{"no token", "PUT", "/jobs/881", "", "", nil, 401, "KLINGHOOK_API_TOKEN", "", ""},
		{"another token", "PUT", "/jobs/881", bearer[:len(bearer)-1], "", nil, 401, "KLINGHOOK_API_TOKEN", "", ""},
		{"no bearer", "PUT", "/jobs/881", token, "", nil, 401, "KLINGHOOK_API_TOKEN", "", ""},
		{"no such api", "PUT", "/jobs/881", bearer, `{"api":"text3video"}`, nil, 400, "it takes one of tasks, legacy, text2video", "", ""},
		{"no such field", "PUT", "/jobs/881", bearer, `{"kind":"text2video"}`, nil, 400, "want none, or JSON", "", ""},
		{"no JSON", "PUT", "/jobs/881", bearer, `text2video`, nil, 400, "want none, or JSON", "", ""},
		{"a large body", "PUT", "/jobs/881", bearer, `{"api":"` + strings.Repeat("a", 5000) + `"}`, nil, 400, "want none, or JSON", "", ""},
		{"a blank id", "PUT", "/jobs/%20", bearer, "", nil, 400, "is empty", "", ""},
		{"an id that is no text", "PUT", "/jobs/%ff%00", bearer, "", nil, 400, "error", "", ""},
		{"a long id", "PUT", "/jobs/" + strings.Repeat("a", 300), bearer, "", nil, 400, "longer than", "", ""},
		{"no database", "PUT", "/jobs/881", bearer, "", errors.New("no database at postgres://user:hush@db"), 503, "send it again", "", ""},
		{"another method", "POST", "/jobs/881", bearer, "", nil, 405, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tracker := &fakeTracker{jobs: map[string]string{"known": ""}, err: tt.err}
			nothing := func(http.ResponseWriter, *http.Request) {}
			private := admin.Handler(admin.Config{Live: nothing, Ready: nothing, Jobs: &track.Handler{Tokens: []string{"another-token-of-the-test-0123456789", token}, Tracker: tracker}})
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

// TestNoLength holds that a request whose body has no announced length, and nothing
// in it, has no body.
func TestNoLength(t *testing.T) {
	tracker := &fakeTracker{jobs: map[string]string{}}
	r := httptest.NewRequest(http.MethodPut, "/jobs/881", io.MultiReader())
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	(&track.Handler{Tokens: []string{token}, Tracker: tracker}).ServeHTTP(w, r)
	if w.Code != http.StatusCreated || r.ContentLength != -1 {
		t.Errorf("answered %d %s to a body of length %d, want 201", w.Code, w.Body, r.ContentLength)
	}
}
