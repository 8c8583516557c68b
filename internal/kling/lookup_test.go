package kling

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestJob(t *testing.T) {
	tests := []struct {
		name, id string
		kinds    []Kind
		want     Kind
		asked    []string
	}{
		{"new, kind not known", "7", nil, KindTasks, []string{"GET /tasks?task_ids=7"}},
		{"legacy, kind not known", "8", nil, KindImage2Video, []string{
			"GET /tasks?task_ids=8", "GET /v1/videos/text2video/8", "GET /v1/videos/image2video/8",
		}},
		{"kind known", "8", []Kind{KindImage2Video}, KindImage2Video, []string{"GET /v1/videos/image2video/8"}},
		{"kind in two parts", "9", []Kind{KindAvatar}, KindAvatar, []string{"GET /v1/videos/avatar/image2video/9"}},
		{"what was known first", "8", []Kind{KindImage2Video, KindTasks}, KindImage2Video, []string{"GET /v1/videos/image2video/8"}},
		{"external id", "mine-8", []Kind{KindImage2Video}, KindImage2Video, []string{"GET /v1/videos/image2video/mine-8"}},
		{"id to be escaped", "a/../b?c", []Kind{KindText2Video}, KindText2Video, []string{"GET /v1/videos/text2video/a%2F..%2Fb%3Fc"}},
		{"a kind that is not listed here", "10", []Kind{"new-effects"}, "new-effects", []string{"GET /v1/videos/new-effects/10"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.jobs[KindTasks] = []string{newObject("6", "processing"), newObject("7", "succeeded")}
			f.jobs[KindText2Video] = []string{legacyObject("a/../b?c", "succeed")}
			f.jobs[KindImage2Video] = []string{legacyObject("8", "succeed")}
			f.jobs[KindAvatar] = []string{legacyObject("9", "succeed")}
			f.jobs["new-effects"] = []string{legacyObject("10", "succeed")}
			job, err := newTestClient(t, f.URL).Job(context.Background(), tt.id, tt.kinds...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.asked, f.asked()); diff != "" {
				t.Errorf("requests (-want +got)\n%s", diff)
			}
			if job.Kind != tt.want || job.Status != tasks.StatusCompleted || job.ID != tt.id && job.ExternalID != tt.id {
				t.Errorf("got %s %s (%s) of kind %s, want %s of kind %s", job.ID, job.ExternalID, job.Status, job.Kind, tt.id, tt.want)
			}
		})
	}
}

func TestJobNotFound(t *testing.T) {
	f := newFake(t)
	_, err := newTestClient(t, f.URL).Job(context.Background(), "1")
	if !errors.Is(err, ErrNotFound) || VerdictOf(err) != GiveUp {
		t.Errorf("err = %v, want ErrNotFound", err)
	}
	if asked := f.asked(); len(asked) != len(Kinds()) {
		t.Errorf("asked %q, want each of %q once", asked, Kinds())
	}
}

// TestJobSearch holds which refusals of one kind end a search.
func TestJobSearch(t *testing.T) {
	tests := []struct {
		name   string
		status int // of text2video, which is asked first
		answer string
		ends   bool
		known  bool // whether Kling is known not to have it, when image2video does not know it either
	}{
		{"not there", 404, `{"code":1203,"message":"task not found"}`, false, true},
		{"nothing at all", 200, `{"code":0,"data":null}`, false, true},
		{"an empty list", 200, `{"code":0,"data":[]}`, false, true},
		{"no id of this kind's", 400, `{"code":1201,"message":"task_id is invalid"}`, false, true},
		{"no such path", 404, `<html>`, false, true},
		{"may not be used", 403, `{"code":1103,"message":"no permission"}`, false, false},
		{"wrong key", 401, `{"code":1002,"message":"invalid"}`, true, false},
		{"no credit", 429, `{"code":1102,"message":"depleted"}`, true, false},
		{"an outage", 502, `<html>502 Bad Gateway</html>`, true, false},
		{"not to be read", 200, `<html>sign in</html>`, true, false},
		{"cut short", 200, `{"code":0,"data":{"task_id":"8"`, true, false},
		{"nothing in a 200", 200, ``, true, false},
		{"text for data", 200, `{"code":0,"data":"8"}`, true, false},
		{"an object without id", 200, `{"code":0,"data":{"task_status":"succeed"}}`, true, false},
		{"another job", 200, `{"code":0,"data":` + legacyObject("9", "succeed") + `}`, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.jobs[KindImage2Video] = []string{legacyObject("8", "succeed")}
			f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/v1/videos/text2video/") {
					return false
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
				return true
			}
			search := func() (Job, error) {
				return newTestClient(t, f.URL).Job(context.Background(), "8", KindText2Video, KindImage2Video)
			}
			job, err := search()
			if tt.ends {
				if err == nil || errors.Is(err, ErrNotFound) {
					t.Errorf("err = %v, want one that is not ErrNotFound", err)
				}
				if asked := f.asked(); len(asked) != 1 {
					t.Errorf("asked %q, want the first only", asked)
				}
				return
			}
			if err != nil || job.Kind != KindImage2Video {
				t.Fatalf("found in %q, err = %v", job.Kind, err)
			}
			f.jobs = nil
			_, err = search()
			if err == nil || errors.Is(err, ErrNotFound) != tt.known {
				t.Errorf("err = %v; is it ErrNotFound? want %t", err, tt.known)
			}
		})
	}
}

// TestUnspoken404 holds that a page without a word of Kling's is not taken for
// Kling's word that a job does not exist.
func TestUnspoken404(t *testing.T) {
	srv := serve(t, http.NotFound)
	_, err := newTestClient(t, srv.URL).Job(context.Background(), "8")
	if err == nil || errors.Is(err, ErrNotFound) || VerdictOf(err) != GiveUp {
		t.Errorf("err = %v, want one that is not ErrNotFound", err)
	}
}

func TestJobRefusesBeforeAsking(t *testing.T) {
	f := newFake(t)
	tests := []struct {
		name, id string
		kind     Kind
	}{
		{"no id", "", KindText2Video},
		{"no id, new", "", KindTasks},
		{"two ids", "1,2", KindTasks},
		{"long id", strings.Repeat("1", 257), KindText2Video},
		{"line end", "1\n", KindText2Video},
		{"not UTF-8", "\xff", KindText2Video},
		{"dot", ".", KindText2Video},
		{"dots", "..", KindText2Video},
		{"no kind", "1", ""},
		{"dots for a kind", "1", ".."},
		{"a path for a kind", "1", "/v1/account"},
		{"a query for a kind", "1", "text2video?x="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newTestClient(t, f.URL).Job(context.Background(), tt.id, tt.kind)
			if !errors.Is(err, ErrInvalid) || VerdictOf(err) != GiveUp {
				t.Errorf("err = %v, want ErrInvalid", err)
			}
		})
	}
	if asked := f.asked(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
}
