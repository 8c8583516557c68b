package dashboard

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func TestRepeatsAndLateEventsAreMarked(t *testing.T) {
	type mark struct {
		Type         string
		Repeat, Late bool
	}
	for _, tt := range []struct {
		name   string
		events []string // type and body, the first received first
		want   []mark
	}{
		{"in order", []string{tasks.TypeCreated, tasks.TypeProcessing, tasks.TypeCompleted}, []mark{{Type: tasks.TypeCreated}, {Type: tasks.TypeProcessing}, {Type: tasks.TypeCompleted}}},
		{"late", []string{tasks.TypeCompleted, tasks.TypeProcessing, tasks.TypeCreated}, []mark{{Type: tasks.TypeCompleted}, {tasks.TypeProcessing, false, true}, {tasks.TypeCreated, false, true}}},
		{"repeat", []string{tasks.TypeCreated, tasks.TypeCompleted, tasks.TypeCreated}, []mark{{Type: tasks.TypeCreated}, {Type: tasks.TypeCompleted}, {tasks.TypeCreated, true, false}}},
		{"final states in either order", []string{tasks.TypeFailed, tasks.TypeCompleted}, []mark{{Type: tasks.TypeFailed}, {Type: tasks.TypeCompleted}}},
		{"unknown types", []string{tasks.TypeCompleted, "video.thing"}, []mark{{Type: tasks.TypeCompleted}, {Type: "video.thing"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events := make([]store.StoredEvent, len(tt.events))
			for i, kind := range tt.events {
				at := len(events) - 1 - i // the last received first
				events[at].Type, events[at].Body, events[at].ReceivedAt = kind, []byte(kind), time.Unix(int64(i), 0)
			}
			marked := markedEvents(events, false)
			got := make([]mark, len(marked))
			for i, event := range marked {
				got[len(got)-1-i] = mark{event.Type, event.Repeat, event.Late}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDetailHasNoSecrets(t *testing.T) {
	letter := DeadLetter{Error: "get https://me:pw@cdn.example/v?sig=1: 404", Failures: []store.Failure{{Error: "get https://cdn.example/v?sig=1: 404"}}}
	clean := letter.withoutSecrets()
	if clean.Error != "get https://…@cdn.example/v?… 404" || clean.Failures[0].Error != "get https://cdn.example/v?… 404" {
		t.Errorf("the dead letter is %+v", clean)
	}
	if letter.Failures[0].Error != "get https://cdn.example/v?sig=1: 404" {
		t.Errorf("the original became %+v", letter)
	}
	d := &dashboard{cfg: Config{Prefix: "/k"}}
	file := d.media(tasks.JobKey{Platform: "fal", ID: "a/../b?"}, Media{Name: "video", URL: "https://cdn.example/v?sig=1", Object: "x", Error: "https://cdn.example/v?sig=1"})
	want := Media{Name: "video", URL: "https://cdn.example/v?…", Object: "x", Error: "https://cdn.example/v?…", DownloadURL: "/k/api/v1/jobs/a%2F..%2Fb%3F/media/video?platform=fal"}
	if diff := cmp.Diff(want, file); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
}
