package source

import (
	"net/http"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Lookup returns the Source of events with [tasks.SourceLookup]. klinghook makes
// them itself, from Kling's answers and when a job is given up. Their bodies are
// Kling's task objects, or have klinghook's own status "lost" or "test". No endpoint
// receives them, so Verify has nothing to check.
func Lookup() Source { return lookup{} }

type lookup struct{}

func (lookup) Verify(http.Header, []byte, time.Time) (string, error) { return "", nil }

func (lookup) Identify(_ http.Header, body []byte) (Identity, error) {
	task, err := ReadTask(body)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Type: task.EventType(), JobID: task.ID}, nil
}

func (lookup) Update(event tasks.Event) (*tasks.JobUpdate, error) {
	task, err := ReadTask(event.Body)
	if err != nil {
		return nil, tasks.Permanent(err)
	}
	if own := tasks.Status(task.Status); own == tasks.StatusLost || own == tasks.StatusTest {
		return &tasks.JobUpdate{Job: tasks.KlingJob(task.ID), EventID: event.ID, OccurredAt: task.UpdatedAt, Status: own}, nil
	}
	return task.update(event.ID), nil
}
