package tasks

import (
	"strconv"
	"strings"
)

// NextGeneration returns the task with a new ID, for when asynq has a task with the old ID
// that it will never run or delete. The generations of "id" are "id", "id+2", "id+3" and
// so on; no other ID contains a plus sign.
func (t Task) NextGeneration() Task {
	_, number, _ := strings.Cut(t.ID, "+")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		n = 1
	}
	return t.Generation(n + 1)
}

// Generation returns the task as its nth generation.
func (t Task) Generation(n int64) Task {
	t.ID = WorkID(t.ID) + "+" + strconv.FormatInt(n, 10)
	return t
}

// WorkID returns a task's ID without its generation: it identifies the work.
func WorkID(taskID string) string {
	id, _, _ := strings.Cut(taskID, "+")
	return id
}
