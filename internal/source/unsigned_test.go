package source_test

import (
	"cmp"
	"net/http"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// TestSourcesWithoutSignatures checks unsigned callbacks, which prove nothing, and
// the events that klinghook makes itself.
func TestSourcesWithoutSignatures(t *testing.T) {
	all, err := source.All(source.NoSecrets)
	testenv.NoError(t, err)
	at := time.UnixMilli(1781080794151).UTC()
	hint := func(body string) source.Identity {
		return source.Identity{SenderID: "1", Type: "callback", JobID: "1", Hint: body}
	}
	tests := []struct {
		source, body string
		want         source.Identity
		update       *tasks.JobUpdate
	}{
		{source.CallbackName, `{"id":"1","status":"succeeded","outputs":[{"url":"https://x"}]}`, hint(`{"id":"1","status":"unverified"}`), &tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", Unproven: true, API: tasks.APITasks}},
		{source.CallbackName, `{"task_id":1,"task_status":"x"}`, hint(`{"status":"unverified","task_id":"1"}`), &tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", Unproven: true, API: tasks.APILegacy}},
		{source.CallbackName, `{"data":[{"id":1,"task_id":1,"task_status":"x"}]}`, hint(`{"id":"1","status":"unverified","task_id":"1"}`), &tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", Unproven: true}},
		{tasks.SourceLookup, `{"id":"1","status":"processing"}`, source.Identity{Type: "video.processing", JobID: "1"}, &tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", Status: tasks.StatusProcessing, API: tasks.APITasks}},
		{tasks.SourceLookup, `{"id":"1","status":"lost","update_time":1781080794151}`, source.Identity{Type: "video.lost", JobID: "1"}, &tasks.JobUpdate{Job: tasks.KlingJob("1"), EventID: "e", Status: tasks.StatusLost, OccurredAt: at}},
		{tasks.SourceLookup, `{"id":"1","status":"queued"}`, source.Identity{Type: "video.queued", JobID: "1"}, nil},
	}
	for _, tt := range tests {
		src := all[tt.source]
		if _, err := src.Verify(http.Header{}, []byte(tt.body), at); err != nil {
			t.Errorf("%s: %v", tt.source, err)
		}
		id, err := src.Identify(http.Header{}, []byte(tt.body))
		if err != nil || id != tt.want {
			t.Errorf("Identify(%s) = %+v, %v, want %+v", tt.body, id, err, tt.want)
		}
		for _, body := range []string{tt.body, cmp.Or(id.Hint, tt.body)} {
			got, err := src.Update(tasks.Event{ID: "e", Type: id.Type, Body: []byte(body)})
			if diff := gocmp.Diff(tt.update, got); err != nil || diff != "" {
				t.Errorf("Update(%s): %v (-want +got)\n%s", body, err, diff)
			}
		}
		if _, err := src.Update(tasks.Event{Body: []byte(`{}`)}); !tasks.IsPermanent(err) {
			t.Errorf("%s: an unreadable body is %v, want a permanent error", tt.source, err)
		}
	}
}
