package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// LookupState is the state of a job's look-ups at Kling. Unknown times are zero.
type LookupState struct {
	// API is where Kling keeps the job, as in [tasks.JobUpdate].
	API string
	// TrackedAt is when a program first tracked the job.
	TrackedAt time.Time
	// Asked counts the look-ups since the job last changed, and NextAt is when the next
	// one is due, both without requested look-ups. No look-up of a job that has ended is
	// due, unless it lacks a file.
	Asked  int
	NextAt time.Time
	// RequestedAt is when a pending look-up was requested, and RetryAt is when it is
	// retried after a failure.
	RequestedAt, RetryAt time.Time
}

// LookupStateOf returns the state of a job's look-ups, or ErrNotFound.
func (s *Store) LookupStateOf(ctx context.Context, job tasks.JobKey) (LookupState, error) {
	state, err := one(ctx, s.db, func(row scanner) (state LookupState, err error) {
		err = row.Scan(&state.API, instant{&state.TrackedAt}, &state.Asked, instant{&state.NextAt}, instant{&state.RequestedAt}, instant{&state.RetryAt})
		return state, err
	}, `
		SELECT j.api, j.tracked_at, j.lookups, CASE WHEN j.status IN ('created', 'processing') OR j.no_media <> '' THEN j.lookup_at END, r.requested_at, r.retry_at
		FROM jobs j LEFT JOIN lookup_requests r ON r.platform = j.platform AND r.job_id = j.id
		WHERE j.platform = $1 AND j.id = $2`, job.Platform, job.ID)
	return state, wrap(err, "read look-ups of %s", job)
}

// RequestLookup asks the workers to look up a job at once. If the job was deleted, it
// returns [tasks.ErrErased].
func (s *Store) RequestLookup(ctx context.Context, job tasks.JobKey, at time.Time) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		gone, err := isErased(ctx, tx, job)
		if err == nil && gone {
			err = tasks.ErrErased
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO lookup_requests (platform, job_id, requested_at) VALUES ($1, $2, $3)
			ON CONFLICT (platform, job_id) DO UPDATE SET generation = lookup_requests.generation + 1, retry_at = NULL`,
			job.Platform, job.ID, s.dialect.time(at))
		return err
	})
	return wrap(err, "request look-up of %s", job)
}

// AttemptsOf returns the stored attempts to send a job's notifications, oldest first.
func (s *Store) AttemptsOf(ctx context.Context, job tasks.JobKey) ([]SendAttempt, error) {
	list, err := collect(ctx, s.db, scanAttempt, selectAttempt+`
		WHERE notification_id IN (SELECT id FROM notifications WHERE platform = $1 AND job_id = $2) ORDER BY attempted_at, slot`, job.Platform, job.ID)
	return list, wrap(err, "read attempts of %s", job)
}
