package kling

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestList(t *testing.T) {
	f := newFake(t)
	f.addJobs(numbers(0, 7)...)
	c := newTestClient(t, f.URL)
	var got []Job
	q := ListQuery{Limit: 3}
	for pages := 1; ; pages++ {
		page, err := c.List(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Jobs...)
		if page.Next == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
		q.Cursor = page.Next
	}
	if diff := cmp.Diff(numbers(0, 7), idsOf(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestListAsks(t *testing.T) {
	from := time.UnixMilli(1781193600000)
	tests := []struct {
		name, want string
		q          ListQuery
	}{
		{"all", `{}`, ListQuery{}},
		{"times", `{"start_time":"1781193600000","end_time":"1781280000000"}`, ListQuery{From: from, To: from.Add(24 * time.Hour)}},
		{"a further page", `{"cursor":"c1","limit":500}`, ListQuery{Cursor: "c1", Limit: 500}},
		{"filters", `{"filters":[{"key":"status","values":["submitted","processing","succeeded","failed"]},{"key":"product_type","values":["video"]}]}`, ListQuery{
			Statuses: []tasks.Status{tasks.StatusCreated, tasks.StatusProcessing, tasks.StatusCompleted, tasks.StatusFailed}, Product: "video",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var body []byte
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ = io.ReadAll(r.Body)
				envelope(w, 200, 0, "SUCCEED", `{"result":[],"count":0,"next_cursor":"c2","has_more":false}`)
			})
			page, err := newTestClient(t, srv.URL).List(context.Background(), tt.q)
			if err != nil || len(page.Jobs) != 0 || page.Next != "" {
				t.Errorf("got %+v, %v", page, err)
			}
			if string(body) != tt.want {
				t.Errorf("asked %s, want %s", body, tt.want)
			}
		})
	}
}

func TestListDrift(t *testing.T) {
	one := newObject("1000", "succeeded")
	tests := []struct {
		name, data string
		want       []string
		next       string
		unreadable bool
	}{
		{"no has_more", `{"result":[` + one + `],"next_cursor":"c2"}`, numbers(0, 1), "c2", false},
		{"cursor as a number", `{"result":[` + one + `],"next_cursor":2,"has_more":true}`, numbers(0, 1), "2", false},
		{"a bare list", `[` + one + `]`, numbers(0, 1), "", false},
		{"one that is no job", `{"result":[{},` + one + `],"next_cursor":"c2"}`, numbers(0, 1), "c2", true},
		{"the same page for ever", `{"result":[],"next_cursor":"c1","has_more":true}`, []string{}, "c1", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, func(w http.ResponseWriter, _ *http.Request) { envelope(w, 200, 0, "SUCCEED", tt.data) })
			page, err := newTestClient(t, srv.URL).List(context.Background(), ListQuery{Cursor: "c1"})
			if errors.Is(err, ErrUnreadable) != tt.unreadable || !tt.unreadable && err != nil {
				t.Errorf("err = %v", err)
			}
			if diff := cmp.Diff(tt.want, idsOf(page.Jobs)); diff != "" || page.Next != tt.next {
				t.Errorf("next %q, want %q; jobs (-want +got)\n%s", page.Next, tt.next, diff)
			}
		})
	}
}

func TestLegacyList(t *testing.T) {
	f := newFake(t)
	for _, id := range numbers(0, 7) {
		f.jobs[KindText2Video] = append(f.jobs[KindText2Video], legacyObject(id, "processing"))
	}
	jobs, err := newTestClient(t, f.URL).LegacyList(context.Background(), KindText2Video, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(numbers(6, 7), idsOf(jobs)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if jobs[0].Kind != KindText2Video || !json.Valid(jobs[0].Raw) {
		t.Errorf("got %+v", jobs[0])
	}
	if diff := cmp.Diff([]string{"GET /v1/videos/text2video?pageNum=3&pageSize=3"}, f.asked()); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

func TestListRefusesBeforeAsking(t *testing.T) {
	srv := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("asked Kling") })
	c := newTestClient(t, srv.URL)
	list := func(q ListQuery) func() error {
		return func() error { _, err := c.List(context.Background(), q); return err }
	}
	legacy := func(kind Kind, page, size int) func() error {
		return func() error { _, err := c.LegacyList(context.Background(), kind, page, size); return err }
	}
	tests := []struct {
		name string
		call func() error
	}{
		{"too long a page", list(ListQuery{Limit: 501})},
		{"a page of less than none", list(ListQuery{Limit: -1})},
		{"a status that is no filter", list(ListQuery{Statuses: []tasks.Status{tasks.StatusCancelled}})},
		{"page 0", legacy(KindText2Video, 0, 30)},
		{"no size", legacy(KindText2Video, 1, 0)},
		{"too much", legacy(KindText2Video, 1, 501)},
		{"not legacy", legacy(KindTasks, 1, 30)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call(); !errors.Is(err, ErrInvalid) {
				t.Errorf("err = %v, want ErrInvalid", err)
			}
		})
	}
}
