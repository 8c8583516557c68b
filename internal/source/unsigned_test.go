package source_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// TestSourcesWithoutSignatures checks unsigned callbacks, which prove nothing, and
// the events that klinghook makes itself.
func TestSourcesWithoutSignatures(t *testing.T) {
	all, err := source.All(source.NoSecrets)
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1781080794151).UTC()
	tests := []struct {
		source, body string
		eventType    string
		want         *tasks.JobUpdate
	}{
		{source.CallbackName, `{"id":"1","status":"succeeded"}`, "callback", &tasks.JobUpdate{JobID: "1", EventID: "e", Unproven: true, API: tasks.APITasks}},
		{source.CallbackName, `{"task_id":"1","task_status":"x"}`, "callback", &tasks.JobUpdate{JobID: "1", EventID: "e", Unproven: true, API: tasks.APILegacy}},
		{tasks.SourceLookup, `{"id":"1","status":"processing"}`, "video.processing", &tasks.JobUpdate{JobID: "1", EventID: "e", Status: tasks.StatusProcessing, API: tasks.APITasks}},
		{tasks.SourceLookup, `{"id":"1","status":"lost","update_time":1781080794151}`, "video.lost", &tasks.JobUpdate{JobID: "1", EventID: "e", Status: tasks.StatusLost, OccurredAt: at}},
		{tasks.SourceLookup, `{"id":"1","status":"queued"}`, "video.queued", nil},
	}
	for _, tt := range tests {
		src := all[tt.source]
		if _, err := src.Verify(http.Header{}, []byte(tt.body), at); err != nil {
			t.Errorf("%s: %v", tt.source, err)
		}
		id, err := src.Identify(http.Header{}, []byte(tt.body))
		if want := (source.Identity{Type: tt.eventType, JobID: "1"}); err != nil || id != want {
			t.Errorf("Identify(%s) = %+v, %v, want %+v", tt.body, id, err, want)
		}
		got, err := src.Update(tasks.Event{ID: "e", Type: id.Type, Body: []byte(tt.body)})
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("Update(%s): %v (-want +got)\n%s", tt.body, err, diff)
		}
		if _, err := src.Update(tasks.Event{Body: []byte(`{}`)}); !tasks.IsPermanent(err) {
			t.Errorf("%s: an unreadable body is %v, want a permanent error", tt.source, err)
		}
	}
}
