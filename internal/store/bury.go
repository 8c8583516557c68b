package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Bury keeps tasks that were given up as dead letters, each with the notes on its
// attempts, in one transaction; no two may be of one task. They need a task, an
// error and a time; their Failures are those of which there is no note yet.
//
// The dead letter of a task that has one already takes in what is newer: the
// failures since, the last error and its time.
func (s *Store) Bury(ctx context.Context, letters ...DeadLetter) error {
	if len(letters) == 0 {
		return nil
	}
	if err := s.inTx(ctx, func(tx *sql.Tx) error { return s.bury(ctx, tx, letters) }); err != nil {
		if len(letters) == 1 {
			return fmt.Errorf("bury %s: %w", letters[0].Task.ID, err)
		}
		return fmt.Errorf("bury %d tasks: %w", len(letters), err)
	}
	return nil
}

func (s *Store) bury(ctx context.Context, tx *sql.Tx, letters []DeadLetter) error {
	ids := make([]string, len(letters))
	for i, d := range letters {
		ids[i] = storable(d.Task.ID)
	}
	failures, err := s.failuresOf(ctx, tx, ids)
	if err != nil {
		return err
	}
	var rows []string
	var args []any
	for i, d := range letters {
		text, err := json.Marshal(append(append([]Failure{}, failures[ids[i]]...), d.Failures...))
		if err != nil {
			return fmt.Errorf("encode failures: %w", err)
		}
		rows = append(rows, placeholders(len(args), 8))
		args = append(args, ids[i], storable(string(d.Task.Kind)), append([]byte{}, d.Task.Payload...), storable(d.JobID), storable(d.EventID),
			storable(d.Error), storable(string(text)), s.dialect.time(d.FailedAt))
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO dead_letters (task_id, kind, payload, job_id, event_id, error, failures, failed_at, state)
		VALUES `+strings.Join(rows, ", ")+`
		ON CONFLICT (task_id) WHERE state = 'dead' DO UPDATE
		SET error = excluded.error, failures = excluded.failures, failed_at = excluded.failed_at
		WHERE excluded.failed_at > dead_letters.failed_at`, args...)
	if err != nil {
		return fmt.Errorf("insert dead letters: %w", err)
	}
	var w where
	andIn(&w, "task_id", ids)
	if _, err := tx.ExecContext(ctx, `DELETE FROM task_failures`+w.String(), w.args...); err != nil {
		return fmt.Errorf("forget failures: %w", err)
	}
	return nil
}

// placeholders is a row of n arguments, after those that are there, and the state
// of a dead letter that is new.
func placeholders(after, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("$" + strconv.Itoa(after+i+1) + ", ")
	}
	return "(" + b.String() + "'dead')"
}

// failuresOf returns what is known of the tasks' attempts by now, the first one
// first: what their dead letters have that are dead, and the notes since.
func (s *Store) failuresOf(ctx context.Context, tx *sql.Tx, ids []string) (map[string][]Failure, error) {
	failures := make(map[string][]Failure)
	var letters, notes where
	letters.andIf(true, "state = 'dead'")
	andIn(&letters, "task_id", ids)
	old, err := collect(ctx, tx, scanFailures, `SELECT task_id, failures FROM dead_letters`+letters.String(), letters.args...)
	if err != nil {
		return nil, fmt.Errorf("read failures: %w", err)
	}
	for _, f := range old {
		failures[f.taskID] = f.failures
	}
	andIn(&notes, "task_id", ids)
	noted, err := collect(ctx, tx, scanNote, `SELECT task_id, attempt, failed_at, error FROM task_failures`+notes.String()+` ORDER BY failed_at, attempt`, notes.args...)
	if err != nil {
		return nil, fmt.Errorf("read failures: %w", err)
	}
	for _, f := range noted {
		failures[f.taskID] = append(failures[f.taskID], f.failures...)
	}
	return failures, nil
}

// taskFailures are failed attempts of a task.
type taskFailures struct {
	taskID   string
	failures []Failure
}

func scanFailures(row scanner) (f taskFailures, err error) {
	var text string
	if err := row.Scan(&f.taskID, &text); err != nil {
		return f, err
	}
	if err := json.Unmarshal([]byte(text), &f.failures); err != nil {
		return f, fmt.Errorf("decode failures: %w", err)
	}
	return f, nil
}

func scanNote(row scanner) (taskFailures, error) {
	f := taskFailures{failures: make([]Failure, 1)}
	err := row.Scan(&f.taskID, &f.failures[0].Attempt, instant{&f.failures[0].At}, &f.failures[0].Error)
	return f, err
}

// EndDeadLetterOf notes that a task which was given up was done after all, if it
// has a dead letter that is dead.
func (s *Store) EndDeadLetterOf(ctx context.Context, taskID string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE dead_letters SET state = 'done', ended_at = $2 WHERE task_id = $1 AND state = 'dead'`,
		storable(taskID), s.dialect.time(at))
	if err != nil {
		return fmt.Errorf("end dead letter of %s: %w", taskID, err)
	}
	return nil
}

// EndDone ends the dead letters whose work was done after all, whoever did it: whose
// event is processed, whose file is in the bucket with no newer link given up, whose
// notification was sent. It returns their tasks, without payloads.
func (s *Store) EndDone(ctx context.Context, at time.Time) ([]tasks.Task, error) {
	// What follows "<kind>:" in a task's id.
	rest := func(kind tasks.Kind) string { return "substr(task_id, " + strconv.Itoa(len(kind)+2) + ")" }
	var ended []tasks.Task
	for kind, done := range map[tasks.Kind]string{
		tasks.KindEventRecord: `SELECT 1 FROM events e WHERE e.id = event_id AND e.processed_at IS NOT NULL`,
		// The id ends in ":<name>:" and eight hex digits, see tasks.DownloadMedia.
		tasks.KindMediaDownload: `SELECT 1 FROM media m WHERE m.job_id = dead_letters.job_id AND m.state = 'stored' AND m.error = ''
			AND substr(task_id, length(task_id) - length(m.name) - 9, length(m.name) + 2) = ':' || m.name || ':'`,
		tasks.KindNotifySend:    `SELECT 1 FROM notifications n WHERE n.id = ` + rest(tasks.KindNotifySend) + ` AND n.state = 'sent'`,
		tasks.KindRejectionKeep: `SELECT 1 FROM rejections r WHERE r.id = ` + rest(tasks.KindRejectionKeep),
	} {
		ids, err := collect(ctx, s.db, scanOne[string], `
			UPDATE dead_letters SET state = 'done', ended_at = $1
			WHERE state = 'dead' AND kind = $2 AND EXISTS (`+done+`)
			RETURNING task_id`, s.dialect.time(at), kind)
		if err != nil {
			return ended, fmt.Errorf("end dead letters of %s: %w", kind, err)
		}
		for _, id := range ids {
			ended = append(ended, tasks.Task{Kind: kind, ID: id})
		}
	}
	return ended, nil
}
