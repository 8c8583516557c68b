package source

import (
	"strings"

	"github.com/klinghook/klinghook/tasks"
)

// typePrefix precedes the status in an event's type.
const typePrefix = "video."

// eventTypes has the type for each word, in lower case, that Kling, a relay or the seed
// protocol uses for a status.
var eventTypes = map[string]string{
	"created":     tasks.TypeCreated,
	"submitted":   tasks.TypeCreated,
	"processing":  tasks.TypeProcessing,
	"in_progress": tasks.TypeProcessing,
	"running":     tasks.TypeProcessing,
	"completed":   tasks.TypeCompleted,
	"succeed":     tasks.TypeCompleted,
	"succeeded":   tasks.TypeCompleted,
	"success":     tasks.TypeCompleted,
	"successful":  tasks.TypeCompleted,
	"failed":      tasks.TypeFailed,
	"fail":        tasks.TypeFailed,
	"failure":     tasks.TypeFailed,
	"cancelled":   tasks.TypeCancelled,
	"canceled":    tasks.TypeCancelled,
}

// eventType returns the event type that a status stands for, in any case and with or
// without "video." before it.
func eventType(status string) (known string, ok bool) {
	known, ok = eventTypes[strings.TrimPrefix(strings.ToLower(strings.TrimSpace(status)), typePrefix)]
	return known, ok
}

// statusOf returns the job status that an event type stands for.
func statusOf(eventType string) (status tasks.Status, known bool) {
	switch eventType {
	case tasks.TypeCreated:
		return tasks.StatusCreated, true
	case tasks.TypeProcessing:
		return tasks.StatusProcessing, true
	case tasks.TypeCompleted:
		return tasks.StatusCompleted, true
	case tasks.TypeFailed:
		return tasks.StatusFailed, true
	case tasks.TypeCancelled:
		return tasks.StatusCancelled, true
	}
	return "", false
}
