package dashboard_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestAPIAnswers(t *testing.T) {
	s := newAPIServer(t)
	const odd = "a/b?c #ü"
	for _, id := range []string{"vid_1", odd} {
		s.record(id, tasks.StatusCompleted)
	}
	s.keep("vid_1", "video/mp4", "0123456789")
	testenv.NoError(t, s.db.ConfigureDestinations(t.Context(), []string{"shop"}, time.Now()))
	letter := s.bury("vid_2", "404 of "+signedLink)
	escaped := "/api/v1/jobs/" + url.PathEscape(odd)
	for _, tt := range []struct {
		method, path, body string
		want               int
		wantIn             string
	}{
		{"GET", "/api/v1/jobs?q=VID_&status=completed,failed&model=kling-v2", "", 200, `"id":"vid_1"`},
		{"GET", "/api/v1/jobs?status=finished", "", 422, `"location":"query.status[0]"`},
		{"GET", "/api/v1/jobs?limit=0", "", 422, `"detail":"query.limit: expected`},
		{"GET", "/api/v1/jobs?state=failed", "", 422, "query.state: unknown query parameter"},
		{"GET", "/api/v1/jobs?cursor=!", "", 422, "next_cursor"},
		{"GET", "/api/v1/jobs?since=yesterday", "", 422, "query.since: expected a time such as 2026-"},
		{"GET", "/api/v1/jobs?tag=none", "", 200, `"jobs":[]`},
		{"GET", "/api/v1/jobs/vid_1", "", 200, `"download_url":"/k/api/v1/jobs/vid_1/media/video"`},
		{"GET", escaped, "", 200, `"id":"` + odd + `"`},
		{"GET", "/api/v1/jobs/vid_1?platform=fal", "", 404, "no such job"},
		{"GET", "/api/v1/jobs/%00", "", 404, "no such job"},
		{"GET", "/api/v1/jobs/nothing", "", 404, "no such job"},
		{"GET", "/api/v1/events?job_id=vid_1", "", 200, `"type":"video.completed"`},
		{"GET", "/api/v1/events?cursor=x", "", 422, "next_cursor"},
		{"GET", "/api/v1/events/klingai:vid_1-completed", "", 200, `"X-Kling-Signature":"…"`},
		{"GET", "/api/v1/events/klingai:vid_1-completed/body", "", 200, signedLink},
		{"GET", "/api/v1/events/%00", "", 404, "there is no event"},
		{"GET", "/api/v1/deadletters?q=vid_2", "", 200, `"count":1`},
		{"GET", "/api/v1/deadletters?kind=x", "", 422, "kind"},
		{"GET", fmt.Sprint("/api/v1/deadletters/", letter), "", 200, `"failures":[`},
		{"GET", "/api/v1/deadletters/999", "", 404, "no dead letter 999"},
		{"GET", "/api/v1/rejections", "", 200, `"rejections":[]`},
		{"GET", "/api/v1/queues", "", 200, `"name":"notify"`},
		{"POST", "/api/v1/jobs/vid_1/refresh", "", 409, "KLINGAI_API_KEY"},
		{"POST", "/api/v1/jobs/vid_1/download?name=video", "", 202, `"queued":1`},
		{"POST", "/api/v1/jobs/vid_1/download?name=nothing", "", 409, "no such file"},
		{"POST", "/api/v1/jobs/nothing/download", "", 404, "no such job"},
		{"POST", "/api/v1/jobs/vid_1/notify?destination=shop", "", 202, `"queued":1`},
		{"POST", "/api/v1/jobs/vid_1/notify?destination=mars", "", 422, "there is no destination"},
		{"POST", "/api/v1/jobs/vid_1/notify", "", 409, "name a destination"},
		{"POST", "/api/v1/deadletters/replay", `{}`, 422, "select dead letters"},
		{"POST", "/api/v1/deadletters/replay", `{"filter": {}}`, 422, "select dead letters"},
		{"POST", "/api/v1/deadletters/replay", `{"all": true, "ids": [1]}`, 422, "select dead letters"},
		{"POST", "/api/v1/deadletters/replay", `{"everything": true}`, 422, "unexpected property"},
		{"POST", "/api/v1/deadletters/replay", `{"filter": {"kind": "media:download", "jobid": "vid_1"}}`, 422, `"location":"body.filter.jobid"`},
		{"POST", "/api/v1/deadletters/replay", `{"filter": {"platform": "mars", "q": "x"}}`, 422, "body.filter.platform: it needs job_id"},
		{"POST", "/api/v1/deadletters/replay", `{"all": true, "cursor": "x"}`, 422, `"location":"body.cursor"`},
		{"POST", "/api/v1/deadletters/replay", `{"ids": [99999999999999999999]}`, 422, `"detail":"a field has the wrong type, or a number is too large"`},
		{"GET", "/api/v1/deadletters?platform=mars", "", 422, "query.platform: it needs job_id"},
		{"GET", "/api/v1/events?platform=mars", "", 422, "query.platform: it needs job_id"},
		{"GET", "/api/v1/jobs?limit=%zz", "", 422, "query: it is malformed"},
		{"GET", "/api/v1/jobs?status=failed&status=completed", "", 422, "query.status: expected it once"},
		{"GET", "/api/v1/jobs?cursor=&q=", "", 200, `"id":"vid_1"`},
		{"POST", "/api/v1/jobs/vid_1/download?name=", "", 422, "query.name: expected a value"},
		{"GET", "/api/v1/jobs/vid_1/media/nothing", "", 404, "the job has no stored file"},
		{"PUT", "/api/v1/jobs/vid_1", `{"tag": "x"}`, 400, `"location":"body"`},
		{"GET", "/api/v1/nothing", "", 404, "/api/v1/docs"},
		{"PATCH", "/api/v1/jobs/vid_1", "", 405, "DELETE, GET, HEAD, PUT"},
		{"DELETE", "/api/v1/jobs/vid_1", "", 204, ""},
		{"DELETE", "/api/v1/jobs/nothing", "", 404, "no such job"},
		{"PUT", "/api/v1/jobs/vid_1", "", 410, "deleted"},
		{"PUT", "/api/v1/jobs/vid_2", strings.Repeat(" ", 100_000), 413, "larger than 65536 bytes"},
	} {
		res, text := s.send(tt.method, tt.path, tt.body)
		if res.StatusCode != tt.want || !strings.Contains(text, tt.wantIn) {
			t.Errorf("%s %s answers %d %s, want %d with %s", tt.method, tt.path, res.StatusCode, text, tt.want, tt.wantIn)
		}
		var problem struct {
			Title, Detail string
			Status        int
		}
		if tt.want >= 400 && (res.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(text), &problem) != nil || problem.Status != tt.want || problem.Title == "" || problem.Detail == "") {
			t.Errorf("%s %s answers no problem details: %v %s", tt.method, tt.path, res.Header, text)
		}
		if strings.Contains(text, "hunter2") && !strings.HasSuffix(tt.path, "/body") {
			t.Errorf("%s %s answers with a secret: %s", tt.method, tt.path, text)
		}
	}
	if got, want := s.worker.taken(), "download vid_1 video, download vid_1 nothing, notify vid_1 shop, notify vid_1"; got != want {
		t.Errorf("the worker did %s, want %s", got, want)
	}
}

func TestPagesOfJobsNeitherRepeatNorSkipOne(t *testing.T) {
	s := newAPIServer(t)
	for i := range 7 {
		s.record(fmt.Sprint("vid_", i), tasks.StatusCreated)
	}
	type page struct {
		Jobs       []dashboard.ListedJob
		NextCursor string `json:"next_cursor"`
	}
	var got []string
	for cursor := ""; ; {
		p := read[page](s, "/api/v1/jobs?limit=3&cursor="+cursor)
		for _, job := range p.Jobs {
			got = append(got, job.ID)
		}
		s.record(fmt.Sprint("new_", len(got)), tasks.StatusCreated) // arrives between two pages
		if cursor = p.NextCursor; cursor == "" {
			break
		}
	}
	if want := "vid_6 vid_5 vid_4 vid_3 vid_2 vid_1 vid_0"; strings.Join(got, " ") != want {
		t.Errorf("the pages have %v, want %s", got, want)
	}
}

func TestProgramsTrackJobs(t *testing.T) {
	s := newAPIServer(t)
	for _, tt := range []struct {
		path, body string
		want       int
		wantIn     string
	}{
		{"/api/v1/jobs/881", "", 201, `{"platform":"kling","id":"881","created":true}`},
		{"/api/v1/jobs/881", `{"prompt": "a cat", "tags": ["blue"], "expected_cost": {"amount": "0.35", "unit": "USD"}, "metadata": {"order": 7}}`, 200, `"created":false`},
		{"/jobs/a%2Fb", `{"api": "text2video"}`, 201, `"id":"a/b"`}, // the former path of a worker
		{"/jobs/881?platform=fal", "", 400, "fal"},
		{"/api/v1/jobs/881", `{"api": "nonsense"}`, 400, "text2video"},
		{"/api/v1/jobs/881", `{"promt": "a cat"}`, 400, "promt"},
		{"/api/v1/jobs/881", `[`, 400, "send an object"},
		{"/api/v1/jobs/881", `{"prompt": "` + strings.Repeat("x", 64<<10) + `"}`, 413, ""},
		{"/api/v1/jobs/%01", "", 400, "job id"},
	} {
		res, text := s.send("PUT", tt.path, tt.body)
		if res.StatusCode != tt.want || !strings.Contains(text, tt.wantIn) {
			t.Errorf("PUT %s %.80s answers %d %s, want %d with %s", tt.path, tt.body, res.StatusCode, text, tt.want, tt.wantIn)
		}
	}
	job := read[dashboard.JobDetail](s, "/api/v1/jobs/881")
	if job.Prompt != "a cat" || !slices.Equal(job.Tags, []string{"blue"}) || job.ExpectedCost.String() != "0.35 USD" || string(job.Metadata) != `{"order":7}` || job.Lookups.TrackedAt.IsZero() {
		t.Errorf("the job is %+v", job)
	}
	testenv.NoError(t, tasks.NoteLookups(t.Context(), s.cfg.Redis))
	if res, text := s.send("POST", "/api/v1/jobs/881/refresh", ""); res.StatusCode != http.StatusAccepted {
		t.Errorf("refresh answers %d %s", res.StatusCode, text)
	}
	if job = read[dashboard.JobDetail](s, "/api/v1/jobs/881"); job.Lookups.RequestedAt.IsZero() {
		t.Errorf("the look-ups are %+v, want a requested one", job.Lookups)
	}
}

func TestDeadLettersEndPageByPage(t *testing.T) {
	s := newAPIServer(t)
	for i := range 5 {
		s.bury(fmt.Sprint("vid_", i), "the host answered 404")
	}
	s.bury("vid_5", "the host answered 404")
	s.worker.before = func(letter store.DeadLetter) error {
		if letter.Job.ID == "vid_5" {
			return errors.New("cannot replay " + signedLink)
		}
		return nil
	}
	s.bury("vid_6", "another cause")
	type ended struct {
		Ended      int
		Remaining  int64
		NextCursor string `json:"next_cursor"`
		Failed     []struct{ Error string }
	}
	var total, requests int
	var failed []struct{ Error string }
	for cursor := ""; ; requests++ {
		res, text := s.send("POST", "/api/v1/deadletters/replay", `{"filter": {"q": "404"}, "limit": 2, "cursor": "`+cursor+`"}`)
		var got ended
		testenv.NoError(t, json.Unmarshal([]byte(text), &got))
		if res.StatusCode != http.StatusOK || got.Remaining != int64(4-2*requests) && got.NextCursor != "" {
			t.Fatalf("request %d answers %d %s", requests, res.StatusCode, text)
		}
		total, failed = total+got.Ended, append(failed, got.Failed...)
		s.bury(fmt.Sprint("new_", requests), "failed meanwhile: 404")
		if cursor = got.NextCursor; cursor == "" {
			break
		}
	}
	if total != 5 || len(failed) != 1 || failed[0].Error != "cannot replay https://…@cdn.example/v.mp4?…" {
		t.Errorf("%d were replayed, %+v failed; want 5 and one without its secrets", total, failed)
	}
	s.worker.before = nil
	res, text := s.send("POST", "/api/v1/deadletters/discard", `{"all": true}`)
	if res.StatusCode != http.StatusOK || !strings.Contains(text, `"failed":[],"remaining":0`) {
		t.Errorf("discard answers %d %s", res.StatusCode, text)
	}
	res, text = s.send("POST", "/api/v1/deadletters/replay", `{"ids": [1, 404]}`)
	if res.StatusCode != http.StatusOK || !strings.Contains(text, `"ended":0,"failed":[{"id":1,"error":"it is not open; its state is replayed"},{"id":404,"error":"there is no such dead letter"}]`) {
		t.Errorf("replay of an ended and an unknown one answers %d %s", res.StatusCode, text)
	}
	open, err := s.db.DeadLetters(t.Context(), store.DeadLetterFilter{})
	if err != nil || len(open) != 0 {
		t.Errorf("open are %+v, %v; want none", open, err)
	}
}

func TestFailuresOfServersAreHidden(t *testing.T) {
	s := newAPIServer(t, func(cfg *dashboard.Config) {
		rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
		t.Cleanup(func() { testenv.NoError(t, rdb.Close()) })
		cfg.Redis = rdb
	})
	s.bury("vid_1", "the host answered 404")
	s.worker.before = func(store.DeadLetter) error { return errors.New("dial tcp 127.0.0.1:1: connection refused") }
	for _, tt := range []struct{ method, path, body string }{
		{"GET", "/api/v1/queues", ""},
		{"POST", "/api/v1/deadletters/replay", `{"all": true}`},
	} {
		res, text := s.send(tt.method, tt.path, tt.body)
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || strings.Contains(text, "127.0.0.1") || !strings.Contains(text, "try again") {
			t.Errorf("without Redis, %s answers %d %v %s", tt.path, res.StatusCode, res.Header, text)
		}
	}
}

func TestDeadLettersOfEveryKindCanBeListed(t *testing.T) {
	s := newAPIServer(t)
	for _, policy := range tasks.Policies() {
		if res, text := s.send("GET", "/api/v1/deadletters?kind="+string(policy.Kind), ""); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s; add the kind to LetterFilter", policy.Kind, res.StatusCode, text)
		}
	}
}

func TestRepeatedDeliveriesOfAJob(t *testing.T) {
	s := newAPIServer(t)
	s.record("vid_1", tasks.StatusCreated)
	events := read[dashboard.JobDetail](s, "/api/v1/jobs/vid_1").Events
	if len(events) != 1 || len(events[0].RepeatedAt) > 0 {
		t.Fatalf("events are %+v, want one that was delivered once", events)
	}
	again := time.Date(2026, 1, 15, 10, 25, 0, 0, time.UTC)
	for _, at := range []time.Time{events[0].ReceivedAt, again} { // the first is the same delivery
		testenv.NoError(t, tasks.NoteRepeat(t.Context(), s.cfg.Redis, events[0].ID, at))
	}
	if got := read[dashboard.JobDetail](s, "/api/v1/jobs/vid_1").Events[0].RepeatedAt; !slices.Equal(got, []time.Time{again}) {
		t.Errorf("it was delivered again at %v, want %v", got, again)
	}
}
