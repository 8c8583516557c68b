package store

import (
	"context"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// TaskAttempt is an attempt of a task: one that failed and was not the last, or a download
// that stored a file.
type TaskAttempt struct {
	TaskID string
	// Number counts from 1.
	Number int
	// At is the start time. Duration is 0 if unknown.
	At       time.Time
	Duration time.Duration
	// Error is empty if the attempt stored a file of Size bytes.
	Error string
	Size  int64
}

// RecordAttempt stores an attempt. If the task becomes a dead letter, its failed attempts
// move there.
func (s *Store) RecordAttempt(ctx context.Context, attempt TaskAttempt) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO task_attempts (task_id, attempted_at, attempt, duration_ms, error, size_bytes) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		storable(attempt.TaskID), s.dialect.time(attempt.At), attempt.Number, milliseconds(attempt.Duration), storable(attempt.Error), attempt.Size)
	return wrap(err, "record attempt of %s", attempt.TaskID)
}

// milliseconds returns a duration rounded up, because 0 means unknown.
func milliseconds(d time.Duration) int64 { return (d + time.Millisecond - 1).Milliseconds() }

const selectTaskAttempt = `SELECT task_id, attempted_at, attempt, duration_ms, error, size_bytes FROM task_attempts`

func scanTaskAttempt(row scanner) (attempt TaskAttempt, err error) {
	var ms int64
	err = row.Scan(&attempt.TaskID, instant{&attempt.At}, &attempt.Number, &ms, &attempt.Error, &attempt.Size)
	attempt.Duration = time.Duration(ms) * time.Millisecond
	return attempt, err
}

// With OR, PostgreSQL would scan the whole table.
const taskAttemptsOf = selectTaskAttempt + ` WHERE task_id >= $3 AND task_id < $4
	UNION ALL ` + selectTaskAttempt + ` WHERE task_id IN (SELECT 'event:record:' || id FROM events WHERE platform = $1 AND job_id = $2)
	UNION ALL ` + selectTaskAttempt + ` WHERE task_id IN (SELECT 'notify:send:' || id FROM notifications WHERE platform = $1 AND job_id = $2)
	ORDER BY attempted_at, task_id, attempt`

// TaskAttemptsOf returns the stored attempts to record a job's events, to download its
// files and to send its notifications, oldest first. Dead letters have those of their
// tasks.
func (s *Store) TaskAttemptsOf(ctx context.Context, job tasks.JobKey) ([]TaskAttempt, error) {
	first, end := tasks.MediaTasks(job)
	list, err := collect(ctx, s.db, scanTaskAttempt, taskAttemptsOf, job.Platform, job.ID, first, end)
	return list, wrap(err, "read attempts of %s", job)
}
