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
	raw := legacyObject("7", "succeed")
	job, err := readJob(KindEffects, json.RawMessage(raw))
	if err != nil {
		t.Fatal(err)
	}
	want := Answer{
		ID: "7", ExternalID: "mine-7", Kind: KindEffects, Status: tasks.StatusCompleted, KlingStatus: "succeed",
		CreatedAt: time.UnixMilli(1722769557708).UTC(), UpdatedAt: time.UnixMilli(1722769557999).UTC(),
		Outputs: []source.Output{{Type: "video", ID: "v1", URL: "https://cdn.example/7.mp4?sig=1", Duration: 5100 * time.Millisecond}},
		Raw:     json.RawMessage(raw),
	}
	if diff := cmp.Diff(want, job); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	job, err = readJob(KindTasks, json.RawMessage(`{"id":1,"status":"queued"}`))
	if err != nil || job.ID != "1" || job.Status != "" || job.KlingStatus != "queued" {
		t.Errorf("a job of unknown status is %+v, %v", job, err)
	}
}

// TestRawIsExact: an event's key is computed from these bytes.
func TestRawIsExact(t *testing.T) {
	const object = "{ \"task_id\":\"7\",\n\t\"task_status\": \"succeed\", \"x\":1.50, \"é\":\"\\u00e9<\" }"
	for _, body := range []string{
		object,
		"\ufeff" + object,
		"\ufeff" + `{"code":0,"data":` + object + `}`,
		"{\"code\":0,\n \"data\": [ " + object + " ,\n" + object + " ] }",
		`{"code":0,"data":{"result":[` + object + `]}}`,
		`{"code":0,"data":{"code":0,"data":[` + object + `]}}`,
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
func readAnswer(t *testing.T, body []byte) ([]Answer, error) {
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
