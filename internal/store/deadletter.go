package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// DeadLetterState is what became of a dead letter.
type DeadLetterState string

// The states of a dead letter.
const (
	// DeadLetterDead waits for somebody to look at it.
	DeadLetterDead DeadLetterState = "dead"
	// DeadLetterReplayed was put into the queue again.
	DeadLetterReplayed DeadLetterState = "replayed"
	// DeadLetterDiscarded was looked at and let go.
	DeadLetterDiscarded DeadLetterState = "discarded"
	// DeadLetterDone needs nobody any more: its work was done after all, by a run
	// of the task from the queue pages or because of another event.
	DeadLetterDone DeadLetterState = "done"
)

// DeadLetter is a task that was given up. A task has one that is dead at most;
// when that has ended and the task is given up again, it gets another.
type DeadLetter struct {
	ID   int64
	Task tasks.Task
	// JobID and EventID are what the task was about; empty where that is unknown.
	JobID, EventID string
	// Error is the last one.
	Error string
	// Failures are the attempts whose errors were noted, the first one first. An
	// attempt that died with its process, or while the database was away, left no
	// note.
	Failures []Failure
	FailedAt time.Time
	State    DeadLetterState
	// EndedAt is when it was replayed, discarded or done.
	EndedAt time.Time
}

// Failure is an attempt that failed.
type Failure struct {
	// Attempt counts from 1.
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
	Error   string    `json:"error"`
}

// NoteFailure keeps the error of an attempt that will be followed by another, for
// the dead letter that the task may become.
func (s *Store) NoteFailure(ctx context.Context, taskID string, f Failure) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO task_failures (task_id, failed_at, attempt, error) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		storable(taskID), s.dialect.time(f.At), f.Attempt, storable(f.Error))
	if err != nil {
		return fmt.Errorf("note failure of %s: %w", taskID, err)
	}
	return nil
}

// ForgetFailures drops the notes on a task that was done in the end.
func (s *Store) ForgetFailures(ctx context.Context, taskID string) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM task_failures WHERE task_id = $1`, storable(taskID)); err != nil {
		return fmt.Errorf("forget failures of %s: %w", taskID, err)
	}
	return nil
}

// storable is a text without what PostgreSQL cannot keep in one.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "")
}

// Buried reports which of the tasks have a dead letter that is dead.
func (s *Store) Buried(ctx context.Context, taskIDs []string) (map[string]bool, error) {
	if len(taskIDs) == 0 {
		return nil, nil
	}
	kept := make([]string, len(taskIDs))
	for i, id := range taskIDs {
		kept[i] = storable(id)
	}
	var w where
	w.andIf(true, "state = 'dead'")
	andIn(&w, "task_id", kept)
	ids, err := collect(ctx, s.db, scanOne[string], `SELECT task_id FROM dead_letters`+w.String(), w.args...)
	if err != nil {
		return nil, fmt.Errorf("look for dead letters: %w", err)
	}
	buried := make(map[string]bool, len(ids))
	for _, id := range taskIDs {
		buried[id] = slices.Contains(ids, storable(id))
	}
	return buried, nil
}

// DeadLetterFilter chooses dead letters. The zero value chooses all that are dead.
type DeadLetterFilter struct {
	IDs   []int64
	JobID string
	Kind  tasks.Kind
	// Error is a part of the last error's text.
	Error string
	// Since and Before bound the time of the last failure.
	Since, Before time.Time
	// Ended chooses also those that were replayed, discarded or done.
	Ended bool
	// Outline leaves out what may be large, the payload and the failures.
	Outline bool
	// After is the id after which to go on; Limit is how many are returned at
	// most, 0 is no limit. Ids grow.
	After int64
	Limit int
}

// DeadLetters returns the chosen dead letters, by id.
func (s *Store) DeadLetters(ctx context.Context, f DeadLetterFilter) ([]DeadLetter, error) {
	w := s.chosen(f)
	large := "payload, failures"
	if f.Outline {
		large = "NULL, '[]'"
	}
	list, err := collect(ctx, s.db, scanDeadLetter, `
		SELECT id, task_id, kind, job_id, event_id, error, failed_at, state, ended_at, `+large+`
		FROM dead_letters`+w.String()+` ORDER BY id`+w.limit(f.Limit), w.args...)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// CountDeadLetters counts the chosen dead letters, whatever the limit.
func (s *Store) CountDeadLetters(ctx context.Context, f DeadLetterFilter) (n int64, err error) {
	w := s.chosen(f)
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM dead_letters`+w.String(), w.args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return n, nil
}

// chosen is what a filter asks for.
func (s *Store) chosen(f DeadLetterFilter) where {
	var w where
	if len(f.IDs) > 0 {
		andIn(&w, "id", f.IDs)
	}
	w.andIf(f.After > 0, "id > ?", f.After)
	w.andIf(f.JobID != "", "job_id = ?", f.JobID)
	w.andIf(f.Kind != "", "kind = ?", f.Kind)
	w.andIf(f.Error != "", "replace(error, ?, '') <> error", f.Error) // contains, without patterns
	w.andIf(!f.Since.IsZero(), "failed_at >= ?", s.dialect.time(f.Since))
	w.andIf(!f.Before.IsZero(), "failed_at < ?", s.dialect.time(f.Before))
	w.andIf(!f.Ended, "state = 'dead'")
	return w
}

func scanDeadLetter(row scanner) (DeadLetter, error) {
	var d DeadLetter
	var failures string
	err := row.Scan(&d.ID, &d.Task.ID, &d.Task.Kind, &d.JobID, &d.EventID, &d.Error,
		instant{&d.FailedAt}, &d.State, instant{&d.EndedAt}, &d.Task.Payload, &failures)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal([]byte(failures), &d.Failures); err != nil {
		return d, fmt.Errorf("decode failures: %w", err)
	}
	return d, nil
}

// EndDeadLetter notes what became of a dead letter as it was read. One that has
// ended stays as it is, and so does one whose task has failed again since. Only a
// replay counts for more than its own outcome: its task may be done before it is noted.
func (s *Store) EndDeadLetter(ctx context.Context, d DeadLetter, state DeadLetterState, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE dead_letters SET state = $2, ended_at = $3
		WHERE id = $1 AND failed_at = $4 AND (state = 'dead' OR state = 'done' AND $2 = 'replayed')`,
		d.ID, state, s.dialect.time(at), s.dialect.time(d.FailedAt))
	if err != nil {
		return fmt.Errorf("mark dead letter %d %s: %w", d.ID, state, err)
	}
	return nil
}
