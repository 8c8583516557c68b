package tasks

import (
	"strconv"
	"strings"
)

// NextGeneration returns the task under another ID, for work whose ID asynq holds but
// will never run or release. The generations of "id" are "id", "id+2", "id+3" and so
// on; no other ID contains a plus sign.
func (t Task) NextGeneration() Task {
	generation := 2
	id, number, found := strings.Cut(t.ID, "+")
	if n, err := strconv.Atoi(number); found && err == nil {
		generation = n + 1
	}
	t.ID = id + "+" + strconv.Itoa(generation)
	return t
}

// WorkID returns a task's ID without its generation: it identifies the work.
func WorkID(taskID string) string {
	id, _, _ := strings.Cut(taskID, "+")
	return id
}
