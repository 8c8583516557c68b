package kling

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

func ms(n int64) time.Time { return time.UnixMilli(n).UTC() }

// objects are jobs in the documented shapes and in those that they drift to.
func objects() []struct {
	name, raw string
	want      Job
} {
	return []struct {
		name, raw string
		want      Job
	}{
		{"new", newObject("893605946402811985", "succeeded"), Job{
			ID: "893605946402811985", ExternalID: "mine-893605946402811985", Status: tasks.StatusCompleted, KlingStatus: "succeeded",
			CreatedAt: ms(1781080778802), UpdatedAt: ms(1781080794151),
			Outputs: []Output{{"video", "v1", "https://cdn.example/893605946402811985.mp4?sig=1", "https://cdn.example/w.mp4", 5100 * time.Millisecond}},
		}},
		{"legacy", legacyObject("7", "succeed"), Job{
			ID: "7", ExternalID: "mine-7", Status: tasks.StatusCompleted, KlingStatus: "succeed",
			CreatedAt: ms(1722769557708), UpdatedAt: ms(1722769557999),
			Outputs: []Output{{"video", "v1", "https://cdn.example/7.mp4?sig=1", "", 5100 * time.Millisecond}},
		}},
		{"new, just submitted", `{"id":"1","status":"submitted","create_time":1781080778802,"outputs":[]}`, Job{
			ID: "1", Status: tasks.StatusCreated, KlingStatus: "submitted", CreatedAt: ms(1781080778802),
		}},
		{"legacy, failed", `{"task_id":"1","task_status":"failed","task_status_msg":"risk control","task_info":null,"task_result":null}`, Job{
			ID: "1", Status: tasks.StatusFailed, KlingStatus: "failed", Message: "risk control",
		}},
		{"the other spelling, new", `{"id":"1","status":"succeed"}`, Job{ID: "1", Status: tasks.StatusCompleted, KlingStatus: "succeed"}},
		{"the other spelling, legacy", `{"task_id":"1","task_status":"succeeded"}`, Job{ID: "1", Status: tasks.StatusCompleted, KlingStatus: "succeeded"}},
		{"the seed's word", `{"task_id":"1","task_status":"completed"}`, Job{ID: "1", Status: tasks.StatusCompleted, KlingStatus: "completed"}},
		{"cancelled", `{"id":"1","status":"canceled"}`, Job{ID: "1", Status: tasks.StatusCancelled, KlingStatus: "canceled"}},
		{"processing", `{"id":"1","status":"processing"}`, Job{ID: "1", Status: tasks.StatusProcessing, KlingStatus: "processing"}},
		{"a status that nobody knows", `{"id":"1","status":"queued"}`, Job{ID: "1", KlingStatus: "queued"}},
		{"a status of another kind", `{"id":"1","status":99}`, Job{ID: "1"}},
		{"no status", `{"task_id":"1","status":"succeeded"}`, Job{ID: "1"}},
		{"id as a number", `{"task_id":866168216002236456789,"task_status":"processing"}`, Job{ID: "866168216002236456789", Status: tasks.StatusProcessing, KlingStatus: "processing"}},
		{"times as strings", `{"id":"1","status":"processing","create_time":"1781080778802","update_time":" 1781080794151 "}`, Job{
			ID: "1", Status: tasks.StatusProcessing, KlingStatus: "processing", CreatedAt: ms(1781080778802), UpdatedAt: ms(1781080794151),
		}},
		{"times in seconds and words", `{"id":"1","status":"processing","create_time":1781080778,"update_time":"2026-06-10T08:39:54+08:00"}`, Job{
			ID: "1", Status: tasks.StatusProcessing, KlingStatus: "processing", CreatedAt: ms(1781080778000), UpdatedAt: ms(1781051994000),
		}},
		{"times that are none", `{"id":"1","status":"processing","create_time":"soon","update_time":-1}`, Job{ID: "1", Status: tasks.StatusProcessing, KlingStatus: "processing"}},
		{"times beyond the years", `{"id":"1","status":"processing","create_time":0,"update_time":1e300}`, Job{ID: "1", Status: tasks.StatusProcessing, KlingStatus: "processing"}},
		{"durations", `{"task_id":"1","task_status":"succeed","task_result":{"videos":[{"url":"https://a/1","duration":5},{"url":"https://a/2","duration":"10.041"},{"url":"https://a/3","duration":"NaN"}]}}`, Job{
			ID: "1", Status: tasks.StatusCompleted, KlingStatus: "succeed",
			Outputs: []Output{{"video", "", "https://a/1", "", 5 * time.Second}, {"video", "", "https://a/2", "", 10041 * time.Millisecond}, {Type: "video", URL: "https://a/3"}},
		}},
		{"outputs without type, and others", `{"id":"1","status":"succeeded","outputs":[{"type":"image","url":"https://a/i"},{"url":"https://a/v"},{"type":"hologram","id":3}]}`, Job{
			ID: "1", Status: tasks.StatusCompleted, KlingStatus: "succeeded",
			Outputs: []Output{{Type: "image", URL: "https://a/i"}, {Type: "video", URL: "https://a/v"}, {Type: "hologram", ID: "3"}},
		}},
		{"outputs as an object", `{"id":"1","status":"succeeded","outputs":{"type":"video","url":"https://a/v"}}`, Job{
			ID: "1", Status: tasks.StatusCompleted, KlingStatus: "succeeded", Outputs: []Output{{Type: "video", URL: "https://a/v"}},
		}},
		{"outputs of another kind", `{"id":"1","status":"succeeded","outputs":"https://a/v"}`, Job{ID: "1", Status: tasks.StatusCompleted, KlingStatus: "succeeded"}},
		{"legacy images", `{"task_id":"1","task_status":"succeed","task_result":{"images":[{"index":0,"url":"https://a/i"}]}}`, Job{
			ID: "1", Status: tasks.StatusCompleted, KlingStatus: "succeed", Outputs: []Output{{Type: "image", URL: "https://a/i"}},
		}},
		{"a video without a link yet", `{"task_id":"1","task_status":"succeed","task_result":{"videos":[{"id":"v1"},{"id":"v2","url":"https://a/2"}]}}`, Job{
			ID: "1", Status: tasks.StatusCompleted, KlingStatus: "succeed", Outputs: []Output{{Type: "video", ID: "v1"}, {Type: "video", ID: "v2", URL: "https://a/2"}},
		}},
		{"fields that nobody knows", `{ "id" : "1", "status" : "processing", "model":{"a":[1]}, "ID":"2", "Status":"failed" }`, Job{ID: "1", Status: tasks.StatusProcessing, KlingStatus: "processing"}},
		{"a key given twice", `{"id":"1","status":"failed","status":"processing","task_id":null}`, Job{ID: "1", Status: tasks.StatusProcessing, KlingStatus: "processing"}},
	}
}

func TestParseJob(t *testing.T) {
	for _, tt := range objects() {
		t.Run(tt.name, func(t *testing.T) {
			job, err := parseJob(json.RawMessage(tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Raw = json.RawMessage(tt.raw)
			if diff := cmp.Diff(tt.want, job); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestRawIsExact holds that an answer's job is kept byte for byte, since an event's
// key is made of the bytes.
func TestRawIsExact(t *testing.T) {
	const object = "{ \"task_id\":\"7\",\n\t\"task_status\": \"succeed\", \"x\":1.50, \"é\":\"\\u00e9<\" }"
	for _, body := range []string{
		object,
		`{"code":0,"data":` + object + `}`,
		"{\"code\":0,\n \"data\": [ " + object + " ,\n" + object + " ] }",
		`{"code":0,"data":{"result":[` + object + `]}}`,
	} {
		got, err := parseAnswer([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		jobs, err := got.jobs(KindText2Video)
		if err != nil || len(jobs) == 0 {
			t.Fatalf("%d jobs, err = %v", len(jobs), err)
		}
		for _, job := range jobs {
			if string(job.Raw) != object {
				t.Errorf("got  %s\nwant %s", job.Raw, object)
			}
		}
	}
}

// TestRawIsACallback holds what the package promises of Raw: what reads callbacks
// reads it, and says the same of the job.
func TestRawIsACallback(t *testing.T) {
	for _, tt := range objects() {
		t.Run(tt.name, func(t *testing.T) {
			job, err := parseJob(json.RawMessage(tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			if told := tellSource(t, job); told != (job.KlingStatus != "") {
				t.Errorf("source reads it: %t; its status is %q", told, job.KlingStatus)
			}
		})
	}
}

// tellSource has the official protocol read a job's object, and compares. It
// returns whether the protocol could read it.
func tellSource(t *testing.T, job Job) bool {
	t.Helper()
	var official source.Source
	for _, p := range source.Protocols() {
		if p.Name == "klingai-official" {
			var err error
			if official, err = p.New(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	identity, err := official.Identify(nil, job.Raw)
	if err != nil {
		return false
	}
	if identity.JobID != job.ID {
		t.Errorf("source reads the id %q, kling %q", identity.JobID, job.ID)
	}
	update, err := official.Update(tasks.Event{Body: job.Raw})
	if err != nil {
		t.Fatal(err)
	}
	if update == nil {
		if job.Status != "" {
			t.Errorf("source knows no status, kling %q", job.Status)
		}
		return true
	}
	want := tasks.JobUpdate{
		JobID: job.ID, Status: job.Status, ExternalID: withoutNUL(job.ExternalID), CreatedAt: job.CreatedAt, OccurredAt: job.UpdatedAt,
	}
	if job.Status.Terminal() {
		want.FinishedAt = job.UpdatedAt
	}
	if job.Status == tasks.StatusFailed {
		want.Error = withoutNUL(job.Message)
	}
	if job.Status == tasks.StatusCompleted {
		videos := slices.DeleteFunc(slices.Clone(job.Outputs), func(o Output) bool { return withoutNUL(o.Type) != OutputVideo && withoutNUL(o.Type) != "" })
		for i, video := range videos {
			if i == 0 {
				want.Duration = video.Duration
			}
			if url := withoutNUL(video.URL); url != "" {
				want.Media = append(want.Media, tasks.MediaLink{Name: tasks.VideoName(i), URL: url})
			}
		}
	}
	// API is what source makes of the form alone.
	if diff := cmp.Diff(want, *update, cmpopts.IgnoreFields(tasks.JobUpdate{}, "API")); diff != "" {
		t.Errorf("source says otherwise (-kling +source)\n%s", diff)
	}
	return true
}

// withoutNUL does as source does: a database cannot keep that character.
func withoutNUL(s string) string { return strings.ReplaceAll(s, "\x00", "") }

// FuzzAnswer feeds answers, as a host would that is not Kling, or not yet.
func FuzzAnswer(f *testing.F) {
	for _, tt := range objects() {
		f.Add([]byte(tt.raw))
		f.Add([]byte(`{"code":0,"message":"SUCCEED","request_id":"r1","data":` + tt.raw + `}`))
		f.Add(fmt.Appendf(nil, `{"code":0,"data":[%s,%s]}`, tt.raw, tt.raw))
		f.Add(fmt.Appendf(nil, `{"code":0,"data":{"result":[%s],"next_cursor":"c","has_more":true}}`, tt.raw))
	}
	f.Add([]byte(`{"code":1203,"message":"task not found","data":null}`))
	f.Add([]byte(`<html>502 Bad Gateway</html>`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parseAnswer(body)
		if err != nil {
			return
		}
		jobs, _ := got.jobs(KindTasks)
		for _, job := range jobs {
			if job.ID == "" || job.Kind != KindTasks || !json.Valid(job.Raw) || !strings.Contains(string(body), string(job.Raw)) {
				t.Fatalf("job %q of kind %q from %q", job.ID, job.Kind, job.Raw)
			}
			again, err := parseJob(job.Raw)
			again.Kind = job.Kind
			if diff := cmp.Diff(job, again); err != nil || diff != "" {
				t.Fatalf("read again: %v\n%s", err, diff)
			}
			tellSource(t, job)
		}
	})
}
