package source

import (
	"errors"
	"fmt"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// KlingTask is Kling's object for a job. Callbacks and look-ups share its two forms: "id"
// marks the new one, "task_id" the legacy one. Fields that are missing or unreadable are
// zero; ID, API and Status are always set.
type KlingTask struct {
	// ID is Kling's id, ExternalID the one that the caller chose.
	ID, ExternalID string
	// API is the API that has the job: [tasks.APITasks] or [tasks.APILegacy].
	API string
	// Status is Kling's word, such as "succeed" or "succeeded".
	Status string
	// Message explains the status.
	Message              string
	CreatedAt, UpdatedAt time.Time
	// Outputs are the files of the job, in Kling's order.
	Outputs []Output
}

// Output is one file of a job.
type Output struct {
	// Type is Kling's word, such as "video" or "image"; an output without one is a
	// video.
	Type string
	// URL is a signed link that expires. Do not log it.
	URL string
	// Duration is the length of a video.
	Duration time.Duration
}

// maxOutputs limits the outputs of a completed task. Each video becomes a row and a
// download, and a body of 1 MiB could list 80,000.
const maxOutputs = 100

const typePrefix = "video."

// ReadTask reads a body. Its errors are worded for the sender.
func ReadTask(raw []byte) (KlingTask, error) {
	body, err := parseBody(raw)
	if err != nil {
		return KlingTask{}, err
	}
	var task KlingTask
	switch isNew, isLegacy := body.Value("id") != nil, body.Value("task_id") != nil; {
	case isNew && isLegacy:
		return KlingTask{}, errors.New(`body has both "id" and "task_id": want one of them`)
	case isNew:
		task, err = readNew(body)
	case isLegacy:
		task, err = readLegacy(body)
	default:
		return KlingTask{}, errors.New(`body has neither "id" nor "task_id": want one of them`)
	}
	if err != nil {
		return KlingTask{}, err
	}
	if n := len(task.Outputs); n > maxOutputs && task.EventType() == tasks.TypeCompleted {
		return KlingTask{}, fmt.Errorf("body has %d outputs: %d at most", n, maxOutputs)
	}
	return task, nil
}

func readNew(body Object) (task KlingTask, err error) {
	task = KlingTask{
		API:        tasks.APITasks,
		ExternalID: body.Text("external_id"),
		Message:    body.Text("message"),
		CreatedAt:  body.Time("create_time"),
		UpdatedAt:  body.Time("update_time"),
	}
	if task.ID, err = body.requiredID("id", "id"); err != nil {
		return KlingTask{}, err
	}
	if task.Status, err = body.requiredName("status", "status", maxTypeBytes-len(typePrefix)); err != nil {
		return KlingTask{}, err
	}
	for _, output := range body.Objects("outputs") {
		task.Outputs = append(task.Outputs, readOutput(output, output.Text("type")))
	}
	return task, nil
}

func readLegacy(body Object) (task KlingTask, err error) {
	task = KlingTask{
		API:        tasks.APILegacy,
		ExternalID: body.Object("task_info").Text("external_task_id"),
		Message:    body.Text("task_status_msg"),
		CreatedAt:  body.Time("created_at"),
		UpdatedAt:  body.Time("updated_at"),
	}
	if task.ID, err = body.requiredID("task_id", "task_id"); err != nil {
		return KlingTask{}, err
	}
	if task.Status, err = body.requiredName("task_status", "task_status", maxTypeBytes-len(typePrefix)); err != nil {
		return KlingTask{}, err
	}
	result := body.Object("task_result")
	for _, video := range result.Objects("videos") {
		task.Outputs = append(task.Outputs, readOutput(video, string(tasks.MediaVideo)))
	}
	for _, image := range result.Objects("images") {
		task.Outputs = append(task.Outputs, readOutput(image, "image"))
	}
	return task, nil
}

func readOutput(o Object, kind string) Output {
	if kind == "" {
		kind = string(tasks.MediaVideo)
	}
	return Output{Type: kind, URL: o.Text("url"), Duration: o.Seconds("duration")}
}

// EventType returns the seed protocol's type for the task's status. Both spellings
// of success occur in both forms. An unknown status keeps its name; it counts only if it
// is the seed protocol's word, such as "completed".
func (t KlingTask) EventType() string {
	switch t.Status {
	case "submitted":
		return tasks.TypeCreated
	case "succeed", "succeeded":
		return tasks.TypeCompleted
	case "canceled":
		return tasks.TypeCancelled
	}
	return typePrefix + t.Status
}

// JobStatus returns the status in klinghook's words; empty for an unknown one.
func (t KlingTask) JobStatus() tasks.Status {
	status, _ := statusOf(t.EventType())
	return status
}

// update returns the task as an update of its job; nil for an unknown status.
func (t KlingTask) update(eventID string) *tasks.JobUpdate {
	status := t.JobStatus()
	if status == "" {
		return nil
	}
	update := &tasks.JobUpdate{
		Job:        tasks.KlingJob(t.ID),
		EventID:    eventID,
		OccurredAt: t.UpdatedAt,
		Status:     status,
		API:        t.API,
		ExternalID: t.ExternalID,
		CreatedAt:  t.CreatedAt,
	}
	if status.Terminal() {
		update.FinishedAt = t.UpdatedAt
	}
	switch status {
	case tasks.StatusFailed:
		update.Error = t.Message
	case tasks.StatusCompleted:
		update.Media, update.Duration = t.videos()
	}
	return update
}

// videos returns the links of the task's videos and the length of the first. Videos
// without a link are numbered too, so that names stay the same in later events.
func (t KlingTask) videos() (media []tasks.MediaLink, first time.Duration) {
	n := 0
	for _, output := range t.Outputs {
		if output.Type != string(tasks.MediaVideo) {
			continue
		}
		if n == 0 {
			first = output.Duration
		}
		if output.URL != "" {
			media = append(media, tasks.MediaLink{Name: tasks.MediaName(tasks.MediaVideo, n), URL: output.URL})
		}
		n++
	}
	return media, first
}
