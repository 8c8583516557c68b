package store

import (
	"cmp"
	"context"
	"database/sql"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// DeadLetterState is the state of a dead letter.
type DeadLetterState string

// The states of a dead letter.
const (
	// DeadLetterDead is open: it needs a person's decision.
	DeadLetterDead DeadLetterState = "dead"
	// DeadLetterReplayed was enqueued again.
	DeadLetterReplayed DeadLetterState = "replayed"
	// DeadLetterDiscarded was dropped by a person.
	DeadLetterDiscarded DeadLetterState = "discarded"
	// DeadLetterDone was closed because its work succeeded after all: someone ran the task
	// from the queue pages, or another event led to the same work.
	DeadLetterDone DeadLetterState = "done"
)

// DeadLetter is a task that was given up. A task has at most one open dead letter. If the
// task is given up again after that one was closed, it gets another.
type DeadLetter struct {
	ID   int64
	Task tasks.Task
	// Job and EventID are the task's job and event; empty if unknown.
	Job     tasks.JobKey
	EventID string
	// Error is the last error. Cause is its text without ids and other details, the same
	// for all tasks that failed for the same reason; [Store.Bury] computes it.
	Error, Cause string
	// Failures are the failed attempts, oldest first, except those that ended with a crash
	// or while the database was unreachable.
	Failures []Failure
	// FailedAt is when the task was given up.
	FailedAt time.Time
	State    DeadLetterState
	// EndedAt is when it was closed.
	EndedAt time.Time
}

// Failure is a failed attempt.
type Failure struct {
	// Attempt counts from 1.
	Attempt int       `json:"attempt" doc:"From 1."`
	At      time.Time `json:"at" doc:"When it began."`
	// DurationSeconds is 0 if unknown.
	DurationSeconds float64 `json:"duration_seconds,omitempty" doc:"How long it took. Missing if unknown."`
	Error           string  `json:"error" doc:"Why it failed."`
}

// EndedAt is when the attempt ended.
func (f Failure) EndedAt() time.Time {
	return f.At.Add(time.Duration(f.DurationSeconds * float64(time.Second)))
}

// Bury stores dead letters in one transaction, with the failed attempts
// stored by [Store.RecordAttempt]. Each needs Task, Error and FailedAt; Failures are further
// attempts. Bury updates an open dead letter of the same task, and drops dead letters of
// deleted jobs.
func (s *Store) Bury(ctx context.Context, letters ...DeadLetter) error {
	letters = slices.SortedFunc(slices.Values(letters), func(a, b DeadLetter) int { return cmp.Compare(a.Task.ID, b.Task.ID) })
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		for _, letter := range letters {
			if err := s.bury(ctx, tx, letter); err != nil {
				return wrap(err, "bury %s", letter.Task.ID)
			}
		}
		return nil
	})
	return wrap(err, "keep dead letters")
}

func (s *Store) bury(ctx context.Context, tx *sql.Tx, letter DeadLetter) error {
	gone, err := isErased(ctx, tx, letter.Job)
	if err != nil || gone {
		return err
	}
	id := storable(letter.Task.ID)
	failures, err := one(ctx, tx, func(row scanner) (list []Failure, err error) {
		err = row.Scan(asJSON{&list})
		return list, err
	}, `SELECT coalesce(max(failures), '[]') FROM dead_letters WHERE task_id = $1 AND state = 'dead'`, id)
	if err != nil {
		return err
	}
	noted, err := collect(ctx, tx, func(row scanner) (Failure, error) {
		attempt, err := scanTaskAttempt(row)
		return Failure{attempt.Number, attempt.At, attempt.Duration.Seconds(), attempt.Error}, err
	}, selectTaskAttempt+` WHERE task_id = $1 AND error <> '' ORDER BY attempted_at, attempt`, id)
	if err != nil {
		return err
	}
	text, err := encode(slices.Concat(failures, noted, letter.Failures, []Failure{}))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO dead_letters (task_id, kind, payload, platform, job_id, event_id, error, failures, failed_at, cause, state)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'dead')
		ON CONFLICT (task_id) WHERE state = 'dead' DO UPDATE
		SET error = excluded.error, cause = excluded.cause, failures = excluded.failures, failed_at = excluded.failed_at
		WHERE excluded.failed_at > dead_letters.failed_at`,
		id, storable(string(letter.Task.Kind)), append([]byte{}, letter.Task.Payload...), storable(letter.Job.Platform), storable(letter.Job.ID), storable(letter.EventID), storable(letter.Error), text, s.dialect.time(letter.FailedAt), causeOf(letter))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM task_attempts WHERE task_id = $1 AND error <> ''`, id)
	return err
}

// Buried reports which of the tasks have an open dead letter.
func (s *Store) Buried(ctx context.Context, taskIDs []string) (map[string]bool, error) {
	if len(taskIDs) == 0 {
		return nil, nil
	}
	kept := make([]string, len(taskIDs))
	for i, id := range taskIDs {
		kept[i] = storable(id)
	}
	var conditions where
	conditions.andIf(true, "state = 'dead'")
	andIn(&conditions, "task_id", kept)
	ids, err := collect(ctx, s.db, scanOne[string], `SELECT task_id FROM dead_letters`+conditions.String(), conditions.args...)
	if err != nil {
		return nil, wrap(err, "look for dead letters")
	}
	buried := make(map[string]bool, len(ids))
	for i, id := range taskIDs {
		buried[id] = slices.Contains(ids, kept[i])
	}
	return buried, nil
}

// DeadLetterFilter selects dead letters. The zero value selects all that are open.
type DeadLetterFilter struct {
	IDs  []int64
	Job  tasks.JobKey
	Kind tasks.Kind
	// Error is a substring of the last error. Cause is an entire cause; see [DeadLetter].
	Error, Cause string
	// Text is a substring of the last error, the job's id or the task's id; case is ignored.
	Text string
	// Since and Before bound the time of the last failure.
	Since, Before time.Time
	// Ended also selects those that were replayed, discarded or done.
	Ended bool
	// Outline omits the payload and the failures, which may be large. Failures includes
	// the failures even so.
	Outline, Failures bool
	// Newest sorts by descending id.
	Newest bool
	// After selects greater ids and Below smaller ones, to continue a list.
	After, Below int64
	// Limit is the maximum number of dead letters; 0 means no limit.
	Limit int
}

// DeadLetters returns the selected dead letters by ascending id, unless filter.Newest is
// set.
func (s *Store) DeadLetters(ctx context.Context, filter DeadLetterFilter) ([]DeadLetter, error) {
	conditions := s.selected(filter)
	large := "payload, failures"
	order := ""
	if filter.Newest {
		order = " DESC"
	}
	switch {
	case filter.Outline && filter.Failures:
		large = "NULL, failures"
	case filter.Outline:
		large = "NULL, '[]'"
	}
	list, err := collect(ctx, s.reads, func(row scanner) (letter DeadLetter, err error) {
		err = row.Scan(&letter.ID, &letter.Task.ID, &letter.Task.Kind, &letter.Job.Platform, &letter.Job.ID, &letter.EventID, &letter.Error, &letter.Cause,
			instant{&letter.FailedAt}, &letter.State, instant{&letter.EndedAt}, &letter.Task.Payload, asJSON{&letter.Failures})
		return letter, err
	}, `
		SELECT id, task_id, kind, platform, job_id, event_id, error, cause, failed_at, state, ended_at, `+large+`
		FROM dead_letters`+conditions.String()+` ORDER BY id`+order+conditions.limit(filter.Limit), conditions.args...)
	return list, wrap(err, "list dead letters")
}

// EachDeadLetter yields the selected dead letters without payloads and failures, in order
// of their ids. It reads them in pages, and ends with the first error.
func (s *Store) EachDeadLetter(ctx context.Context, filter DeadLetterFilter) iter.Seq2[DeadLetter, error] {
	filter.Outline, filter.Limit = true, 500
	return func(yield func(DeadLetter, error) bool) {
		for {
			page, err := s.DeadLetters(ctx, filter)
			if err != nil {
				yield(DeadLetter{}, err)
				return
			}
			for _, letter := range page {
				if !yield(letter, nil) {
					return
				}
				filter.After = letter.ID
			}
			if len(page) < filter.Limit {
				return
			}
		}
	}
}

// CountDeadLetters counts the selected dead letters. It ignores the limit.
func (s *Store) CountDeadLetters(ctx context.Context, filter DeadLetterFilter) (int64, error) {
	conditions := s.selected(filter)
	n, err := one(ctx, s.reads, scanOne[int64], `SELECT count(*) FROM dead_letters`+conditions.String(), conditions.args...)
	return n, wrap(err, "count dead letters")
}

// CountOpenDeadLetters counts the open dead letters, up to [CountLimit], and returns their
// greatest id.
func (s *Store) CountOpenDeadLetters(ctx context.Context) (n int, newest int64, err error) {
	counted, err := one(ctx, s.db, func(row scanner) (c [2]int64, err error) {
		err = row.Scan(&c[0], &c[1])
		return c, err
	}, `SELECT count(*), coalesce(max(id), 0) FROM (SELECT id FROM dead_letters WHERE state = 'dead' LIMIT `+strconv.Itoa(CountLimit)+`) counted`)
	return int(counted[0]), counted[1], wrap(err, "count dead letters")
}

func (s *Store) selected(filter DeadLetterFilter) (conditions where) {
	if len(filter.IDs) > 0 {
		andIn(&conditions, "id", filter.IDs)
	}
	conditions.andIf(filter.After > 0, "id > ?", filter.After)
	conditions.andIf(filter.Below > 0, "id < ?", filter.Below)
	conditions.andIf(filter.Cause != "", "cause = ?", storable(filter.Cause))
	conditions.andIf(filter.Job.ID != "", "platform = ? AND job_id = ?", filter.Job.Platform, filter.Job.ID)
	conditions.andIf(filter.Kind != "", "kind = ?", filter.Kind)
	conditions.andIf(filter.Error != "", "replace(error, ?, '') <> error", filter.Error) // a substring, without LIKE's wildcards
	text := strings.ToLower(storable(filter.Text))
	conditions.andIf(text != "", s.dialect.position+"(lower(error), ?) + "+s.dialect.position+"(lower(job_id), ?) + "+s.dialect.position+"(lower(task_id), ?) > 0", text, text, text)
	conditions.andIf(!filter.Since.IsZero(), "failed_at >= ?", s.dialect.time(filter.Since))
	conditions.andIf(!filter.Before.IsZero(), "failed_at < ?", s.dialect.time(filter.Before))
	conditions.andIf(!filter.Ended, "state = 'dead'")
	return conditions
}

// EndDeadLetter closes a dead letter. It does nothing if the dead letter is already closed
// or its task has failed again since it was read. The state done can still become
// replayed: a replayed task may finish before EndDeadLetter is called. Discarding the dead
// letter of a job that lacks a file ends the job's look-ups.
func (s *Store) EndDeadLetter(ctx context.Context, letter DeadLetter, state DeadLetterState, at time.Time) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		ended, err := collect(ctx, tx, scanOne[int64], `
			UPDATE dead_letters SET state = $2, ended_at = $3
			WHERE id = $1 AND failed_at = $4 AND (state = 'dead' OR state = 'done' AND $2 = 'replayed') RETURNING id`,
			letter.ID, state, s.dialect.time(at), s.dialect.time(letter.FailedAt))
		if err == nil && len(ended) > 0 && state == DeadLetterDiscarded && letter.Task.Kind == tasks.KindMediaFind {
			_, err = tx.ExecContext(ctx, `UPDATE jobs SET lookup_at = NULL WHERE platform = $1 AND id = $2 AND no_media <> ''`, letter.Job.Platform, letter.Job.ID)
		}
		return err
	})
	return wrap(err, "mark dead letter %d %s", letter.ID, state)
}

// EndDeadLetterOf marks the open dead letter of a task, if any, as done.
func (s *Store) EndDeadLetterOf(ctx context.Context, taskID string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE dead_letters SET state = 'done', ended_at = $2 WHERE task_id = $1 AND state = 'dead'`,
		storable(taskID), s.dialect.time(at))
	return wrap(err, "end dead letter of %s", taskID)
}

// EndDone marks open dead letters as done if their work has succeeded after all: the event
// is processed, the file is stored and no newer link was given up, the job lacks no file,
// or the notification was sent. It returns their tasks, without payloads.
func (s *Store) EndDone(ctx context.Context, at time.Time) (ended []tasks.Task, err error) {
	// rest selects the part of a task's id after "<kind>:".
	rest := func(kind tasks.Kind) string { return "substr(task_id, " + strconv.Itoa(len(kind)+2) + ")" }
	for kind, done := range map[tasks.Kind]string{
		tasks.KindEventRecord: `SELECT 1 FROM events e WHERE e.id = event_id AND e.processed_at IS NOT NULL`,
		// The id ends in ":<name>:" and eight hex digits, see tasks.DownloadMedia.
		tasks.KindMediaDownload: `SELECT 1 FROM media m WHERE m.platform = dead_letters.platform AND m.job_id = dead_letters.job_id AND m.state = 'stored' AND m.error = ''
			AND substr(task_id, length(task_id) - length(m.name) - 9, length(m.name) + 2) = ':' || m.name || ':'`,
		tasks.KindMediaFind:     `SELECT 1 FROM jobs j WHERE j.platform = dead_letters.platform AND j.id = dead_letters.job_id AND j.no_media = ''`,
		tasks.KindNotifySend:    `SELECT 1 FROM notifications n WHERE n.id = ` + rest(tasks.KindNotifySend) + ` AND n.state = 'sent'`,
		tasks.KindRejectionKeep: `SELECT 1 FROM rejections r WHERE r.id = ` + rest(tasks.KindRejectionKeep),
	} {
		ids, err := collect(ctx, s.db, scanOne[string], `
			UPDATE dead_letters SET state = 'done', ended_at = $1
			WHERE state = 'dead' AND kind = $2 AND EXISTS (`+done+`)
			RETURNING task_id`, s.dialect.time(at), kind)
		if err != nil {
			return ended, wrap(err, "end dead letters of %s", kind)
		}
		for _, id := range ids {
			ended = append(ended, tasks.Task{Kind: kind, ID: id})
		}
	}
	return ended, nil
}
