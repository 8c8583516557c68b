package kling

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

func TestReadJob(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	tests := []struct {
		name, raw string
		want      Job
	}{
		{"new", newObject("893605946402811985", "succeeded"), Job{
			ID: "893605946402811985", ExternalID: "mine-893605946402811985", Status: tasks.StatusCompleted, KlingStatus: "succeeded",
			CreatedAt: at(1781080778802), UpdatedAt: at(1781080794151),
			Outputs: []Output{{Type: "video", URL: "https://cdn.example/893605946402811985.mp4?sig=1", Duration: 5100 * time.Millisecond}},
		}},
		{"legacy", legacyObject("7", "succeed"), Job{
			ID: "7", ExternalID: "mine-7", Status: tasks.StatusCompleted, KlingStatus: "succeed",
			CreatedAt: at(1722769557708), UpdatedAt: at(1722769557999),
			Outputs: []Output{{Type: "video", URL: "https://cdn.example/7.mp4?sig=1", Duration: 5100 * time.Millisecond}},
		}},
		{"an unknown status", `{"id":"1","status":"queued"}`, Job{ID: "1", KlingStatus: "queued"}},
		{"the seed's word", `{"task_id":1,"task_status":"completed"}`, Job{ID: "1", Status: tasks.StatusCompleted, KlingStatus: "completed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			job, err := readJob(KindEffects, json.RawMessage(tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Kind, tt.want.Raw = KindEffects, json.RawMessage(tt.raw)
			if diff := cmp.Diff(tt.want, job); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestRawIsExact: an event's key is computed from these bytes.
func TestRawIsExact(t *testing.T) {
	const object = "{ \"task_id\":\"7\",\n\t\"task_status\": \"succeed\", \"x\":1.50, \"é\":\"\\u00e9<\" }"
	for _, body := range []string{
		object,
		`{"code":0,"data":` + object + `}`,
		"{\"code\":0,\n \"data\": [ " + object + " ,\n" + object + " ] }",
		`{"code":0,"data":{"result":[` + object + `]}}`,
	} {
		jobs, err := readAnswer(t, []byte(body))
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

// readAnswer reads the body of a successful answer.
func readAnswer(t *testing.T, body []byte) ([]Job, error) {
	t.Helper()
	c, err := New(Config{APIKey: testKey})
	if err != nil {
		t.Fatal(err)
	}
	data, err := c.read(&http.Response{StatusCode: http.StatusOK}, body, testKey)
	if err != nil {
		return nil, err
	}
	return readJobs(KindTasks, data)
}

// FuzzAnswer reads answers that Kling may not have sent.
func FuzzAnswer(f *testing.F) {
	for _, raw := range []string{newObject("1", "succeeded"), legacyObject("1", "failed"), `{"id":1,"status":"queued"}`} {
		f.Add([]byte(raw))
		f.Add([]byte(`{"code":0,"message":"SUCCEED","request_id":"r1","data":` + raw + `}`))
		f.Add(fmt.Appendf(nil, `{"code":0,"data":[%s,%s]}`, raw, raw))
		f.Add(fmt.Appendf(nil, `{"code":0,"data":{"result":[%s],"next_cursor":"c","has_more":true}}`, raw))
	}
	f.Add([]byte(`{"code":1203,"message":"task not found","data":null}`))
	f.Add([]byte(`<html>502 Bad Gateway</html>`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, body []byte) {
		jobs, _ := readAnswer(t, body)
		for _, job := range jobs {
			if job.Kind != KindTasks || !json.Valid(job.Raw) || !strings.Contains(string(body), string(job.Raw)) {
				t.Fatalf("job %q of kind %q from %q", job.ID, job.Kind, job.Raw)
			}
			identity, err := source.Lookup().Identify(nil, job.Raw)
			if err != nil || identity.JobID != job.ID || job.ID == "" {
				t.Fatalf("job %q reads as the event %+v, %v", job.ID, identity, err)
			}
		}
	})
}
