package kling

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestJob(t *testing.T) {
	tests := []struct {
		name, id string
		kinds    []JobKind
		want     JobKind
		asked    []string
	}{
		{"new, kind not known", "7", nil, KindTasks, []string{"GET /tasks?task_ids=7"}},
		{"legacy, kind not known", "8", nil, KindImage2Video, []string{
			"GET /tasks?task_ids=8", "GET /v1/videos/text2video/8", "GET /v1/videos/image2video/8",
		}},
		{"kind known", "8", []JobKind{KindImage2Video}, KindImage2Video, []string{"GET /v1/videos/image2video/8"}},
		{"kind in two parts", "9", []JobKind{KindAvatar}, KindAvatar, []string{"GET /v1/videos/avatar/image2video/9"}},
		{"the kind given first", "8", []JobKind{KindImage2Video, KindTasks}, KindImage2Video, []string{"GET /v1/videos/image2video/8"}},
		{"external id", "mine-8", []JobKind{KindImage2Video}, KindImage2Video, []string{"GET /v1/videos/image2video/mine-8"}},
		{"id to be escaped", "a/../b?c", []JobKind{KindText2Video}, KindText2Video, []string{"GET /v1/videos/text2video/a%2F..%2Fb%3Fc"}},
		{"an image", "11", []JobKind{KindImages}, KindImages, []string{"GET /v1/images/generations/11"}},
		{"an expanded image", "12", []JobKind{KindImageExpand}, KindImageExpand, []string{"GET /v1/images/editing/expand/12"}},
		{"audio", "13", []JobKind{KindVideo2Audio}, KindVideo2Audio, []string{"GET /v1/audio/video-to-audio/13"}},
		{"a voice", "14", []JobKind{KindVoice}, KindVoice, []string{"GET /v1/general/custom-voices/14"}},
		{"an element", "15", []JobKind{KindElement}, KindElement, []string{"GET /v1/general/advanced-custom-elements/15"}},
		{"an unlisted kind", "10", []JobKind{"new-effects"}, "new-effects", []string{"GET /v1/videos/new-effects/10"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.add(KindTasks, "7", newObject("7", "succeeded"))
			f.add(KindText2Video, "a/../b?c", legacyObject("a/../b?c", "succeed"))
			f.add(KindImage2Video, "8", legacyObject("8", "succeed"))
			f.add(KindImage2Video, "mine-8", legacyObject("8", "succeed"))
			f.add(KindAvatar, "9", legacyObject("9", "succeed"))
			for id, kind := range map[string]JobKind{"11": KindImages, "12": KindImageExpand, "13": KindVideo2Audio, "14": KindVoice, "15": KindElement} {
				f.add(kind, id, legacyObject(id, "succeed"))
			}
			f.add("new-effects", "10", legacyObject("10", "succeed"))
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

// TestJobNotFound also checks that another server's 404 does not mean ErrNotFound.
func TestJobNotFound(t *testing.T) {
	f := newFake(t)
	_, err := newTestClient(t, f.URL).Job(t.Context(), "1")
	if asked := f.asked(); !errors.Is(err, ErrNotFound) || len(asked) != len(Kinds()) {
		t.Errorf("err = %v, want ErrNotFound; asked %q, want each of %q once", err, asked, Kinds())
	}
	_, err = newTestClient(t, serve(t, http.NotFound).URL).Job(t.Context(), "1")
	if err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("err = %v, want one that is not ErrNotFound", err)
	}
}

func TestOnlySomeRefusalsEndTheSearch(t *testing.T) {
	tests := []struct {
		name   string
		status int // of text2video, which is asked first
		answer string
		ends   bool
		known  bool // whether it is ErrNotFound if image2video does not know the job either
	}{
		{"not there", 404, `{"code":1203,"message":"task not found"}`, false, true},
		{"nothing at all", 200, `{"code":0,"data":null}`, false, true},
		{"an empty list", 200, `{"code":0,"data":[]}`, false, true},
		{"an id of another form", 400, `{"code":1201,"message":"task_id is invalid"}`, false, true},
		{"no such path", 404, `<html>`, false, true},
		{"may not be used", 403, `{"code":1103,"message":"no permission"}`, false, false},
		{"wrong key", 401, `{"code":1002,"message":"invalid"}`, true, false},
		{"no credit", 429, `{"code":1102,"message":"depleted"}`, true, false},
		{"an outage", 502, `<html>502 Bad Gateway</html>`, true, false},
		{"unreadable", 200, `<html>sign in</html>`, true, false},
		{"cut short", 200, `{"code":0,"data":{"task_id":"8"`, true, false},
		{"nothing in a 200", 200, ``, true, false},
		{"text for data", 200, `{"code":0,"data":"8"}`, true, false},
		{"an object without id", 200, `{"code":0,"data":{"task_status":"succeed"}}`, true, false},
		{"another job", 200, `{"code":0,"data":` + legacyObject("9", "succeed") + `}`, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.add(KindImage2Video, "8", legacyObject("8", "succeed"))
			f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/v1/videos/text2video/") {
					return false
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
				return true
			}
			search := func() (Answer, error) {
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

func TestJobChecksItsArguments(t *testing.T) {
	f := newFake(t)
	check := func(id string, kind JobKind) {
		_, err := newTestClient(t, f.URL).Job(t.Context(), id, kind)
		if asked := f.asked(); !errors.Is(err, ErrInvalid) || len(asked) > 0 {
			t.Errorf("%.20q of kind %q: err = %v, want ErrInvalid; asked %q", id, kind, err, asked)
		}
	}
	for _, id := range []string{"", ".", "..", "1\n", "\xff", strings.Repeat("1", 257)} {
		check(id, KindText2Video)
	}
	for _, id := range []string{"", "1,2"} {
		check(id, KindTasks)
	}
	for _, kind := range []JobKind{"", "..", "/v1/account", "text2video?x="} {
		check("1", kind)
	}
}

// idsOf returns the sorted ids of jobs.
func idsOf(jobs []Answer) []string {
	ids := []string{}
	for _, job := range jobs {
		ids = append(ids, job.ID)
	}
	slices.Sort(ids)
	return ids
}

// numbers returns ids in Kling's form, for a to b-1.
func numbers(a, b int) []string {
	ids := []string{}
	for i := a; i < b; i++ {
		ids = append(ids, strconv.Itoa(1000+i))
	}
	return ids
}

// TestJobsInBatches also checks that one bad id, which anybody can make up, does not
// hide the other jobs, and that a general refusal ends the look-up with those found.
func TestJobsInBatches(t *testing.T) {
	tests := []struct {
		name, bad    string // the id that is refused
		status, code int    // 0 means refused before asking, or not refused
		want         string // the error; empty for none
		found, most  int    // jobs and requests
	}{
		{"an id twice", "1000", 0, 0, "", 40, 3},
		{"refused by Kling", "vid_made_up", 400, 1201, `job "vid_made_up": Kling answered 400`, 40, 13},
		{"not found by Kling", "1999", 404, 1203, "", 40, 13},
		{"with a comma", "1,2", 0, 0, ErrInvalid.Error(), 40, 3},
		{"empty", "", 0, 0, ErrInvalid.Error(), 40, 3},
		{"wrong key", "1999", 401, 0, "Kling answered 401", 20, 2},
		{"no permission", "1999", 403, 0, "Kling answered 403", 20, 2},
		{"too fast", "1999", 429, 0, "Kling answered 429", 20, 2},
		{"an outage", "1999", 500, 0, "Kling answered 500", 20, 2},
		{"another server", "1999", 404, 0, "Kling answered 404", 20, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			for _, id := range numbers(0, 40) {
				f.add(KindTasks, id, newObject(id, "processing"))
			}
			f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				if tt.status == 0 || !slices.Contains(strings.Split(r.URL.Query().Get("task_ids"), ","), tt.bad) {
					return false
				}
				if tt.code == 0 {
					w.WriteHeader(tt.status)
				} else {
					envelope(w, tt.status, tt.code, "refused", "null")
				}
				return true
			}
			jobs, err := newTestClient(t, f.URL).Jobs(t.Context(), slices.Insert(numbers(0, 45), 25, tt.bad)...)
			if diff := cmp.Diff(numbers(0, tt.found), idsOf(jobs)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
			if asked := f.asked(); len(asked) > tt.most {
				t.Errorf("%d requests, want %d at most: %q", len(asked), tt.most, asked)
			}
		})
	}
}

func TestJobsReadsChangedShapes(t *testing.T) {
	legacy, one := legacyObject("1001", "succeed"), newObject("1000", "succeeded")
	tests := []struct {
		name, data string
		want       []string
		unreadable bool
	}{
		{"an object", one, numbers(0, 1), false},
		{"a list of legacy objects", "[" + legacy + "]", numbers(1, 2), false},
		{"a page", `{"result":[` + one + `,` + legacy + `]}`, numbers(0, 2), false},
		{"a page with one object", `{"result":` + one + `}`, numbers(0, 1), false},
		{"an empty page", `{"result":null,"count":0}`, []string{}, false},
		{"null", `null`, []string{}, false},
		{"id as a number", `[{"id":1000,"status":"succeeded"}]`, numbers(0, 1), false},
		{"one without id", `[{"status":"succeeded"},` + one + `]`, numbers(0, 1), true},
		{"one with two ids", `[{"id":"1001","task_id":"1002","status":"succeeded"},` + one + `]`, numbers(0, 1), true},
		{"one that is no object", `[null,7,` + one + `]`, numbers(0, 1), true},
		{"one that was not asked for", `[` + newObject("1009", "succeeded") + `,` + one + `]`, numbers(0, 1), true},
		{"a number", `7`, []string{}, true},
		{"an object of another kind", `{}`, []string{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, func(w http.ResponseWriter, _ *http.Request) { envelope(w, 200, 0, "SUCCEED", tt.data) })
			jobs, err := newTestClient(t, srv.URL).Jobs(context.Background(), numbers(0, 2)...)
			if diff := cmp.Diff(tt.want, idsOf(jobs)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if errors.Is(err, ErrUnreadable) != tt.unreadable || !tt.unreadable && err != nil {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestJobsEscapesIDs(t *testing.T) {
	f := newFake(t)
	_, err := newTestClient(t, f.URL).Jobs(context.Background(), "a b", "a&task_ids=c", "ü", "%2C")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"GET /tasks?task_ids=a+b,a%26task_ids%3Dc,%C3%BC,%252C"}, f.asked()); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}
