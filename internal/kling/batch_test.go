package kling

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// idsOf returns the ids of jobs, in order.
func idsOf(jobs []Job) []string {
	ids := []string{}
	for _, job := range jobs {
		ids = append(ids, job.ID)
	}
	slices.Sort(ids)
	return ids
}

// numbers returns ids as Kling makes them, from a to below b.
func numbers(a, b int) []string {
	ids := []string{}
	for i := a; i < b; i++ {
		ids = append(ids, strconv.Itoa(1000+i))
	}
	return ids
}

func (f *fake) addJobs(ids ...string) {
	for _, id := range ids {
		f.jobs[KindTasks] = append(f.jobs[KindTasks], newObject(id, "processing"))
	}
}

// sizes returns how many ids each request asked for.
func sizes(t *testing.T, requests []string) []int {
	t.Helper()
	var sizes []int
	for _, request := range requests {
		_, query, _ := strings.Cut(request, "=")
		sizes = append(sizes, len(strings.Split(query, ",")))
	}
	return sizes
}

func TestJobsInBatches(t *testing.T) {
	f := newFake(t)
	f.addJobs(numbers(0, 40)...)
	jobs, err := newTestClient(t, f.URL).Jobs(context.Background(), append(numbers(0, 45), numbers(0, 45)...)...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(numbers(0, 40), idsOf(jobs)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]int{20, 20, 5}, sizes(t, f.asked())); diff != "" {
		t.Errorf("ids per request (-want +got)\n%s", diff)
	}
}

func TestJobsByExternalID(t *testing.T) {
	f := newFake(t)
	f.addJobs("1", "2", "3")
	jobs, err := newTestClient(t, f.URL).JobsByExternalID(context.Background(), "mine-1", "mine-3", "mine-4 & more")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1", "3"}, idsOf(jobs)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"GET /tasks?external_task_ids=mine-1,mine-3,mine-4+%26+more"}, f.asked()); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

func TestJobsOfNone(t *testing.T) {
	f := newFake(t)
	jobs, err := newTestClient(t, f.URL).Jobs(context.Background())
	if len(jobs) != 0 || err != nil || len(f.asked()) > 0 {
		t.Errorf("got %v, %v", jobs, err)
	}
}

// TestJobsOneBadID holds that ids which Kling, or nobody, takes do not cost the
// others their answer: anybody can make up an id.
func TestJobsOneBadID(t *testing.T) {
	tests := []struct {
		name, bad string
		code      int    // 0: refused before asking
		want      string // the error; empty for none
		most      int    // requests
	}{
		{"refused by Kling", "vid_made_up", 1201, `job "vid_made_up": Kling answered 400`, 11},
		{"not found by Kling", "1999", 1203, "", 11},
		{"with a comma", "1,2", 0, ErrInvalid.Error(), 2},
		{"empty", "", 0, ErrInvalid.Error(), 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.addJobs(numbers(0, 40)...)
			f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				asked := strings.Split(r.URL.Query().Get("task_ids"), ",")
				if tt.code == 0 || !slices.Contains(asked, tt.bad) {
					return false
				}
				status := map[int]int{1201: 400, 1203: 404}[tt.code]
				envelope(w, status, tt.code, "refused", "null")
				return true
			}
			ids := slices.Insert(numbers(0, 39), 7, tt.bad)
			jobs, err := newTestClient(t, f.URL).Jobs(context.Background(), ids...)
			if diff := cmp.Diff(numbers(0, 39), idsOf(jobs)); diff != "" {
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

// TestJobsBreakOff holds that what concerns every request ends the look-up, and
// what was found by then is not lost.
func TestJobsBreakOff(t *testing.T) {
	for _, status := range []int{401, 403, 429, 500, 404} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			f := newFake(t)
			f.addJobs(numbers(0, 60)...)
			f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.RequestURI, "=1000,") {
					return false
				}
				w.WriteHeader(status)
				return true
			}
			jobs, err := newTestClient(t, f.URL).Jobs(context.Background(), numbers(0, 60)...)
			var refused *APIError
			if !errors.As(err, &refused) || refused.Status != status {
				t.Errorf("err = %v, want a %d", err, status)
			}
			if diff := cmp.Diff(numbers(0, 20), idsOf(jobs)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if asked := f.asked(); len(asked) != 2 {
				t.Errorf("%d requests, want 2", len(asked))
			}
		})
	}
}

func TestJobsDrift(t *testing.T) {
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
		{"one with two ids", `[{"id":"1001","task_id":"1001","status":"succeeded"},` + one + `]`, numbers(0, 1), true},
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
			if err != nil && VerdictOf(err) != Retry {
				t.Errorf("verdict %s", VerdictOf(err))
			}
		})
	}
}

// TestBatchQueryIsDecodedAsAsked holds that what is in an id stays in it.
func TestBatchQueryIsDecodedAsAsked(t *testing.T) {
	ids := []string{"a b", "a+b", "a&task_ids=c", "ü", "%2C"}
	b := batch{form: byID}
	got, err := url.ParseQuery(b.query(ids))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(url.Values{"task_ids": {strings.Join(ids, ",")}}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
