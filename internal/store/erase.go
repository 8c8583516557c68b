package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Erasure is the tombstone of a job that a person deleted; nothing else of the job
// remains. Tombstones written by [Store.Prune] expire and are never due.
type Erasure struct {
	Job     tasks.JobKey
	BegunAt time.Time
}

// erased is the condition that the job given by the first two arguments was deleted.
const erased = `EXISTS (SELECT 1 FROM erasures x WHERE x.platform = $1 AND x.job_id = $2)`

func isErased(ctx context.Context, q queryer, job tasks.JobKey) (bool, error) {
	return one(ctx, q, scanOne[bool], `SELECT `+erased, storable(job.Platform), storable(job.ID))
}

// BeginErasure writes a job's tombstone, which is due at once. From then on [Store.Record]
// drops the job's events.
func (s *Store) BeginErasure(ctx context.Context, job tasks.JobKey, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO erasures (platform, job_id, begun_at, due_at) VALUES ($1, $2, $3, $3)
		ON CONFLICT (platform, job_id) DO UPDATE SET begun_at = excluded.begun_at, due_at = excluded.due_at, expires_at = NULL`,
		job.Platform, job.ID, s.dialect.time(at))
	return wrap(err, "begin to delete job %s", job)
}

const dueErasures = `SELECT platform, job_id, begun_at FROM erasures WHERE due_at <= $1 ORDER BY due_at, platform, job_id LIMIT $2`

// DueErasures returns at most limit erasures that are due, longest due first.
func (s *Store) DueErasures(ctx context.Context, now time.Time, limit int) ([]Erasure, error) {
	list, err := collect(ctx, s.db, func(row scanner) (erasure Erasure, err error) {
		err = row.Scan(&erasure.Job.Platform, &erasure.Job.ID, instant{&erasure.BegunAt})
		return erasure, err
	}, dueErasures, s.dialect.time(now), limit)
	return list, wrap(err, "list due deletions")
}

// PostponeErasure sets when an erasure is due again; if next is zero, never. It does
// nothing if the erasure was restarted meanwhile.
func (s *Store) PostponeErasure(ctx context.Context, erasure Erasure, next time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE erasures SET due_at = $4 WHERE platform = $1 AND job_id = $2 AND begun_at = $3`,
		erasure.Job.Platform, erasure.Job.ID, s.dialect.time(erasure.BegunAt), s.dialect.time(next))
	return wrap(err, "postpone deletion of job %s", erasure.Job)
}

// IsErased reports whether a job has a tombstone.
func (s *Store) IsErased(ctx context.Context, job tasks.JobKey) (bool, error) {
	found, err := isErased(ctx, s.db, job)
	return found, wrap(err, "look for the deletion of job %s", job)
}

// HasTraces reports whether anything is stored for a job: a row, an event, a dead letter,
// a requested look-up, or a tombstone.
func (s *Store) HasTraces(ctx context.Context, job tasks.JobKey) (bool, error) {
	found, err := one(ctx, s.db, scanOne[bool], `
		SELECT `+erased+`
			OR EXISTS (SELECT 1 FROM jobs WHERE platform = $1 AND id = $2)
			OR EXISTS (SELECT 1 FROM events WHERE platform = $1 AND job_id = $2)
			OR EXISTS (SELECT 1 FROM dead_letters WHERE platform = $1 AND job_id = $2)
			OR EXISTS (SELECT 1 FROM lookup_requests WHERE platform = $1 AND job_id = $2)`, job.Platform, job.ID)
	return found, wrap(err, "look for job %s", job)
}

// ErasedRows counts what [Store.EraseRows] deleted.
type ErasedRows struct{ Events, Notifications, DeadLetters int64 }

// EraseRows deletes all rows of a job except its tombstone.
func (s *Store) EraseRows(ctx context.Context, job tasks.JobKey) (n ErasedRows, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		// This statement waits for transactions that record an event of the job and have
		// not seen the tombstone.
		_, err := tx.ExecContext(ctx, `
			INSERT INTO jobs (seq, platform, id, status, first_received_at, last_received_at, changed_at) VALUES ($1, $2, $3, $4, $5, $5, $5)
			ON CONFLICT (platform, id) DO UPDATE SET status = jobs.status`, s.dialect.newSeq(longAgo), job.Platform, job.ID, tasks.StatusCreated, s.dialect.time(longAgo))
		if err == nil {
			n, err = eraseRows(ctx, tx, []tasks.JobKey{job})
		}
		return err
	})
	return n, wrap(err, "delete the rows of job %s", job)
}

// eraseRows deletes all rows of jobs except their tombstones. The caller must lock the
// rows of the jobs themselves.
func eraseRows(ctx context.Context, tx *sql.Tx, jobs []tasks.JobKey) (n ErasedRows, err error) {
	var own, of, downloads where
	own.andJobs("id", jobs)
	of.andJobs("job_id", jobs)
	for _, job := range jobs {
		first, end := tasks.MediaTasks(job)
		downloads.andIf(true, "(task_id >= ? AND task_id < ? OR task_id = ?)", first, end, string(tasks.KindMediaFind)+":"+job.SafeID())
	}
	for _, step := range []struct {
		rows    string
		args    []any
		deleted *int64
	}{
		{`task_attempts WHERE ` + strings.Join(downloads.conditions, " OR "), downloads.args, new(int64)},
		{`task_attempts WHERE task_id IN (SELECT 'event:record:' || id FROM events` + of.String() + `)`, of.args, new(int64)},
		{`task_attempts WHERE task_id IN (SELECT 'notify:send:' || id FROM notifications` + of.String() + `)`, of.args, new(int64)},
		{`dead_letters` + of.String(), of.args, &n.DeadLetters},
		{`destination_attempts WHERE notification_id IN (SELECT id FROM notifications` + of.String() + `)`, of.args, new(int64)},
		{`notifications` + of.String(), of.args, &n.Notifications},
		{`media` + of.String(), of.args, new(int64)},
		{`lookup_requests` + of.String(), of.args, new(int64)},
		{`lookups` + of.String(), of.args, new(int64)},
		{`events` + of.String(), of.args, &n.Events},
		{`jobs` + own.String(), own.args, new(int64)},
	} {
		result, err := tx.ExecContext(ctx, `DELETE FROM `+step.rows, step.args...)
		if err != nil {
			return n, err
		}
		if *step.deleted, err = result.RowsAffected(); err != nil {
			return n, err
		}
	}
	return n, nil
}
