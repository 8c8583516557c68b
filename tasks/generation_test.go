package tasks_test

import (
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestGenerationsHaveTheirOwnIDs(t *testing.T) {
	task, err := tasks.RecordEvent(tasks.Event{ID: tasks.EventID("klingai", "a+b/2", nil), Source: "klingai"})
	testenv.NoError(t, err)
	for _, suffix := range []string{"", "+2", "+3"} {
		if want := "event:record:klingai:a~2bb~2f2" + suffix; task.ID != want {
			t.Errorf("ID is %q, want %q", task.ID, want)
		}
		if id := tasks.WorkID(task.ID); id != "event:record:klingai:a~2bb~2f2" {
			t.Errorf("WorkID(%q) = %q", task.ID, id)
		}
		task = task.NextGeneration()
	}
}
