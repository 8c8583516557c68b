package source

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// KlingTask is Kling's object for a job. Callbacks and look-ups share its two forms: "id"
// marks the new one, "task_id" the legacy one. Fields that are missing or unreadable are
// zero; ID and Status are always set.
type KlingTask struct {
	// ID is Kling's id, ExternalID the one that the caller chose.
	ID, ExternalID string
	// API is the API that has the job: [tasks.APITasks] or [tasks.APILegacy]; empty if the
	// object has both ids.
	API string
	// Status is Kling's word, such as "succeed" or "succeeded".
	Status string
	// Message explains the status.
	Message              string
	CreatedAt, UpdatedAt time.Time
	// Outputs are the results of the job, in Kling's order.
	Outputs []Output
	// Missing is why a result has no file; empty if all have theirs.
	Missing string
	// NoOutputs reports that the list of outputs is present but empty.
	NoOutputs bool
	// Costs are what the job cost so far.
	Costs []tasks.Cost
}

// maxOutputs limits the outputs of a completed task. Each becomes a row and a download,
// and a body of 1 MiB could list 80,000.
const maxOutputs = 100

// Tasks returns the task objects in an answer of Kling's API, byte for byte: the body
// itself, or those in its envelope, its page or its list. ok is false if it has no place
// for them.
func Tasks(body json.RawMessage) (list []json.RawMessage, ok bool) {
	const maxLayers = 3 // an envelope, a page, and a list
	for range maxLayers {
		object := ParseObject(body)
		if object == nil || object.hasTaskID() {
			break
		}
		inner, found := object["data"]
		if !found {
			inner, found = object["result"]
		}
		if !found {
			break
		}
		body = inner
	}
	list = Elements(body)
	return list, list != nil || len(body) == 0 || string(body) == "null"
}

// ReadTask reads a body that is a task, or an envelope with one. Its errors are worded for
// the sender.
func ReadTask(raw []byte) (KlingTask, error) {
	body, err := parseBody(raw)
	if err != nil {
		return KlingTask{}, err
	}
	if !body.hasTaskID() {
		list, _ := Tasks(WithoutMark(raw))
		if len(list) > 1 {
			return KlingTask{}, fmt.Errorf("body has %d tasks: want one", len(list))
		}
		if len(list) == 1 {
			body = ParseObject(list[0])
		}
	}
	task, err := readTask(body)
	if err != nil {
		return KlingTask{}, err
	}
	if n := len(task.Outputs); n > maxOutputs && task.EventType() == tasks.TypeCompleted {
		return KlingTask{}, fmt.Errorf("body has %d outputs: %d at most", n, maxOutputs)
	}
	return task, nil
}

func (o Object) hasTaskID() bool { return o.Value("id") != nil || o.Value("task_id") != nil }

// readTask reads either form, and mixtures of them.
func readTask(body Object) (task KlingTask, err error) {
	task = KlingTask{
		ExternalID: cmp.Or(body.Text("external_id"), body.Object("task_info").Text("external_task_id")),
		Message:    cmp.Or(body.Text("message"), body.Text("task_status_msg")),
		CreatedAt:  cmp.Or(body.Time("create_time"), body.Time("created_at")),
		UpdatedAt:  cmp.Or(body.Time("update_time"), body.Time("updated_at")),
	}
	if task.ID, task.API, err = body.taskID(); err != nil {
		return KlingTask{}, err
	}
	status, other := "status", "task_status"
	if task.API == tasks.APILegacy {
		status, other = other, status
	}
	if body.Value(status) == nil && body.Value(other) != nil {
		status = other
	}
	if task.Status, err = body.requiredName(status, status, maxTypeBytes-len(typePrefix)); err != nil {
		return KlingTask{}, err
	}
	task.Outputs, task.Missing = readOutputs(body)
	task.Costs = readCosts(body)
	var outputs []json.RawMessage
	task.NoOutputs = json.Unmarshal(body.Value("outputs"), &outputs) == nil && len(outputs) == 0
	return task, nil
}

// taskID returns the id of a task and the API that its key stands for.
func (o Object) taskID() (id, api string, err error) {
	var legacy string
	isNew, isLegacy := o.Value("id") != nil, o.Value("task_id") != nil
	if isNew {
		id, err = o.requiredID("id", "id")
	}
	if isLegacy && err == nil {
		legacy, err = o.requiredID("task_id", "task_id")
	}
	switch {
	case err != nil:
		return "", "", err
	case isNew && isLegacy && id != legacy:
		return "", "", errors.New(`body has different values for "id" and "task_id"`)
	case isNew && isLegacy:
		return id, "", nil
	case isNew:
		return id, tasks.APITasks, nil
	case isLegacy:
		return legacy, tasks.APILegacy, nil
	}
	return "", "", errors.New(`body has neither "id" nor "task_id": want one of them`)
}

// EventType returns the seed protocol's type for the task's status. An unknown status
// keeps its name.
func (t KlingTask) EventType() string {
	if known, ok := eventType(t.Status); ok {
		return known
	}
	return typePrefix + strings.TrimPrefix(t.Status, typePrefix)
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
		Costs:      t.Costs,
	}
	if status.Terminal() {
		update.FinishedAt = t.UpdatedAt
	}
	switch status {
	case tasks.StatusFailed:
		update.Error = t.Message
	case tasks.StatusCompleted:
		update.Media, update.Duration, update.Missing = Links(t.Outputs), t.duration(), t.Missing
	}
	return update
}
