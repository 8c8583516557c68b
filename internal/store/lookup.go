package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Lookup is a job to look up at Kling.
type Lookup struct {
	Job tasks.JobKey
	// Known reports that the job has a row. A job named only by an unproven sender has
	// none until Kling confirms it.
	Known bool
	// API is where Kling keeps the job, as in [tasks.JobUpdate]; empty if unknown.
	API string
	// Asked counts the look-ups since the job last changed, without requested ones.
	Asked int
	// HeardAt is when the job last had news, or was tracked by [Store.Track].
	HeardAt time.Time
	// NoMedia is why a completed job lacks a file; else empty.
	NoMedia string
	// TestCallback reports that the job may be a test callback, as in [Job].
	TestCallback bool
	// Request identifies the request for this look-up; 0 if there is none.
	Request int64
	// Ended reports that the job is completed, failed or cancelled.
	Ended bool
	// Answer is for [Store.LookedUp] and [Store.PostponeLookup], which record it unless it
	// is zero.
	Answer LookupAnswer
}

// LookupAnswer is what came of asking Kling about a job.
type LookupAnswer struct {
	// At is when Kling was asked, and Took how long the answer took.
	At   time.Time
	Took time.Duration
	// Outcome is found, unknown or unclear, as in metrics, or failed if Kling refused or
	// could not be reached.
	Outcome string
	// Error is why the outcome is unclear or failed.
	Error string
}

// keptLookups is the number of answers kept for each job.
const keptLookups = 100

func scanLookup(row scanner) (lookup Lookup, err error) {
	err = row.Scan(&lookup.Job.Platform, &lookup.Job.ID, &lookup.Known, &lookup.API, &lookup.Asked, instant{&lookup.HeardAt}, &lookup.NoMedia, &lookup.TestCallback, &lookup.Request, &lookup.Ended)
	return lookup, err
}

// perhapsTest is the condition that a job may be a test callback: no event shows a real
// job, and no program tracked it.
const perhapsTest = `test_callback AND tracked_at IS NULL`

// RequestFilter selects requested look-ups.
type RequestFilter struct {
	Platform string
	// Known selects jobs that have a row; else jobs without one.
	Known bool
	// Newest puts the latest request first instead of the oldest.
	Newest bool
	// Now excludes requests that are postponed to a later time.
	Now time.Time
	// Limit is the maximum number of look-ups.
	Limit int
}

// RequestedLookups returns the selected requested look-ups.
func (s *Store) RequestedLookups(ctx context.Context, f RequestFilter) ([]Lookup, error) {
	direction := ""
	if f.Newest {
		direction = "DESC"
	}
	list, err := collect(ctx, s.db, scanLookup, `
		SELECT r.platform, r.job_id, j.id IS NOT NULL, coalesce(nullif(j.api, ''), r.api), coalesce(j.lookups, 0), coalesce(j.last_received_at, r.requested_at), coalesce(j.no_media, ''),
			coalesce(j.test_callback AND j.tracked_at IS NULL, FALSE), r.generation,
			coalesce(j.status IN ('completed', 'failed', 'cancelled'), FALSE)
		FROM lookup_requests r LEFT JOIN jobs j ON j.platform = r.platform AND j.id = r.job_id
		WHERE r.platform = $1 AND (j.id IS NOT NULL) = $2 AND (r.retry_at IS NULL OR r.retry_at <= $3)
		ORDER BY coalesce(r.retry_at, r.requested_at) `+direction+`, r.job_id LIMIT $4`, f.Platform, f.Known, s.dialect.time(f.Now), f.Limit)
	return list, wrap(err, "list requested look-ups")
}

// Each half has its own index, and its scan stops at the first job that is not due.
const staleJobs = `
	SELECT platform, id, TRUE, api, lookups, last_received_at, '', perhaps_test, 0, FALSE FROM (
		SELECT * FROM (
			SELECT platform, id, api, lookups, last_received_at, ` + perhapsTest + ` AS perhaps_test, last_received_at AS due FROM jobs
			WHERE platform = $1 AND status IN ('created', 'processing') AND lookup_at IS NULL AND last_received_at <= $2
			ORDER BY last_received_at LIMIT $4) never
		UNION ALL SELECT * FROM (
			SELECT platform, id, api, lookups, last_received_at, ` + perhapsTest + ` AS perhaps_test, lookup_at AS due FROM jobs
			WHERE platform = $1 AND status IN ('created', 'processing') AND lookup_at <= $3 AND last_received_at <= $2
			ORDER BY lookup_at LIMIT $4) again
	) stale ORDER BY due, id LIMIT $4`

// StaleJobs returns at most limit unfinished jobs of a platform that are due for a
// look-up, longest due first. They have had no news since heardBefore, and the time set by
// [Store.LookedUp] or [Store.PostponeLookup], if any, has passed.
func (s *Store) StaleJobs(ctx context.Context, platform string, heardBefore, now time.Time, limit int) ([]Lookup, error) {
	list, err := collect(ctx, s.db, scanLookup, staleJobs, platform, s.dialect.time(heardBefore), s.dialect.time(now), limit)
	return list, wrap(err, "list stale jobs")
}

const possibleTests = `
	SELECT platform, id, TRUE, api, lookups, last_received_at, '', TRUE, 0, FALSE FROM jobs
	WHERE platform = $1 AND status = 'created' AND ` + perhapsTest + `
		AND last_received_at <= $2 AND (lookup_at IS NULL OR lookup_at <= $3)
	ORDER BY last_received_at LIMIT $4`

// PossibleTests returns at most limit jobs that may be test callbacks. Like
// [Store.StaleJobs], it returns those with no news since heardBefore that are due.
func (s *Store) PossibleTests(ctx context.Context, platform string, heardBefore, now time.Time, limit int) ([]Lookup, error) {
	list, err := collect(ctx, s.db, scanLookup, possibleTests, platform, s.dialect.time(heardBefore), s.dialect.time(now), limit)
	return list, wrap(err, "list possible test callbacks")
}

const jobsWithoutMedia = `
	SELECT platform, id, TRUE, api, lookups, last_received_at, no_media, FALSE, 0, TRUE FROM jobs
	WHERE platform = $1 AND no_media <> '' AND lookup_at <= $2
	ORDER BY lookup_at LIMIT $3`

// JobsWithoutMedia returns at most limit completed jobs that lack a file and are due for a
// look-up, longest due first.
func (s *Store) JobsWithoutMedia(ctx context.Context, platform string, now time.Time, limit int) ([]Lookup, error) {
	list, err := collect(ctx, s.db, scanLookup, jobsWithoutMedia, platform, s.dialect.time(now), limit)
	return list, wrap(err, "list jobs without media")
}

// LookupCounts counts look-ups, each up to [CountLimit].
type LookupCounts struct {
	// Requested counts look-ups that a person, a program or an unsigned callback requested.
	Requested int
	// Due counts due look-ups of unfinished jobs and of completed ones without a file.
	Due int
}

// The rows that [Store.CountLookups] counts; each condition has an index.
const (
	requestedLookups = `lookup_requests WHERE platform = $1`
	neverLookedUp    = `jobs WHERE platform = $1 AND status IN ('created', 'processing') AND lookup_at IS NULL AND last_received_at <= $2`
	dueAgain         = `jobs WHERE platform = $1 AND status IN ('created', 'processing') AND lookup_at <= $3 AND last_received_at <= $2`
	dueWithoutMedia  = `jobs WHERE platform = $1 AND no_media <> '' AND lookup_at <= $2`
)

// CountLookups counts the look-ups of a platform. heardBefore is as in [Store.StaleJobs].
func (s *Store) CountLookups(ctx context.Context, platform string, heardBefore, now time.Time) (counts LookupCounts, err error) {
	count := func(from string, args ...any) (n int) {
		if err == nil {
			n, err = s.countUpTo(ctx, from, append([]any{platform}, args...)...)
		}
		return n
	}
	heard, at := s.dialect.time(heardBefore), s.dialect.time(now)
	counts.Requested = count(requestedLookups)
	counts.Due = count(neverLookedUp, heard) + count(dueAgain, heard, at) + count(dueWithoutMedia, at)
	return counts, wrap(err, "count look-ups")
}

// NoMedia returns why a completed job lacks a file; empty if it lacks none or has no row.
func (s *Store) NoMedia(ctx context.Context, job tasks.JobKey) (reason string, err error) {
	reason, err = one(ctx, s.db, scanOne[string], `SELECT no_media FROM jobs WHERE platform = $1 AND id = $2`, job.Platform, job.ID)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return reason, wrap(err, "read job %s", job)
}

// ReopenNoMedia makes a completed job that lacks a file due for look-ups again.
func (s *Store) ReopenNoMedia(ctx context.Context, job tasks.JobKey, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE jobs SET lookups = 0, lookup_at = $3 WHERE platform = $1 AND id = $2 AND no_media <> ''`,
		job.Platform, job.ID, s.dialect.time(at))
	return wrap(err, "reopen job %s", job)
}

// LookedUp records a look-up, and when the next one is due if the job does not change
// first; a zero time ends the look-ups. A requested look-up can only postpone the next one
// and is not counted, because senders must not control how often klinghook looks up a job.
// A request that arrived meanwhile stays. lookup.API, if set, is stored with the job.
func (s *Store) LookedUp(ctx context.Context, lookup Lookup, next time.Time) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		if err := answerRequest(ctx, tx, lookup); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE jobs SET lookups = CASE WHEN $3 THEN lookups + 1 ELSE lookups END,
				lookup_at = CASE WHEN $3 OR lookup_at IS NULL OR lookup_at < $4 THEN $4 ELSE lookup_at END,
				api = CASE WHEN $5 = '' THEN api ELSE $5 END
			WHERE platform = $1 AND id = $2`, lookup.Job.Platform, lookup.Job.ID, lookup.Request == 0, s.dialect.time(next), lookup.API)
		if err != nil {
			return err
		}
		return s.recordAnswer(ctx, tx, lookup.Job, lookup.Answer)
	})
	return wrap(err, "record look-up of %s", lookup.Job)
}

// answerRequest deletes the request that a look-up answers.
func answerRequest(ctx context.Context, tx *sql.Tx, lookup Lookup) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM lookup_requests WHERE platform = $1 AND job_id = $2 AND generation = $3`, lookup.Job.Platform, lookup.Job.ID, lookup.Request)
	return err
}

// PostponeLookup records a failed look-up and delays it until a time, so that one failing
// job does not block the rest.
func (s *Store) PostponeLookup(ctx context.Context, lookup Lookup, until time.Time) error {
	query := `UPDATE jobs SET lookup_at = $3 WHERE platform = $1 AND id = $2`
	if lookup.Request != 0 {
		query = `UPDATE lookup_requests SET retry_at = $3 WHERE platform = $1 AND job_id = $2`
	}
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, query, lookup.Job.Platform, lookup.Job.ID, s.dialect.time(until)); err != nil {
			return err
		}
		return s.recordAnswer(ctx, tx, lookup.Job, lookup.Answer)
	})
	return wrap(err, "postpone look-up of %s", lookup.Job)
}

// RecordAnswer stores an answer about a job. Answers that Kling does not know a job without
// a row are not stored: senders of unsigned callbacks can make up ids.
func (s *Store) RecordAnswer(ctx context.Context, job tasks.JobKey, answer LookupAnswer) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error { return s.recordAnswer(ctx, tx, job, answer) })
	return wrap(err, "record look-up of %s", job)
}

func (s *Store) recordAnswer(ctx context.Context, tx *sql.Tx, job tasks.JobKey, answer LookupAnswer) error {
	if answer.At.IsZero() {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO lookups (platform, job_id, asked_at, duration_ms, outcome, error)
		SELECT $1, $2, $3, $4, $5, $6 WHERE $5 <> 'unknown' OR EXISTS (SELECT 1 FROM jobs WHERE platform = $1 AND id = $2) ON CONFLICT DO NOTHING`,
		job.Platform, job.ID, s.dialect.time(answer.At), milliseconds(answer.Took), answer.Outcome, storable(answer.Error))
	if err != nil {
		return err
	}
	// Senders of unsigned callbacks can request any number of look-ups.
	_, err = tx.ExecContext(ctx, `
		DELETE FROM lookups WHERE platform = $1 AND job_id = $2
			AND asked_at < (SELECT asked_at FROM lookups WHERE platform = $1 AND job_id = $2 ORDER BY asked_at DESC LIMIT 1 OFFSET $3)`,
		job.Platform, job.ID, keptLookups-1)
	return err
}

// AnswersOf returns the latest answers about a job, oldest first.
func (s *Store) AnswersOf(ctx context.Context, job tasks.JobKey) ([]LookupAnswer, error) {
	list, err := collect(ctx, s.db, func(row scanner) (answer LookupAnswer, err error) {
		var ms int64
		err = row.Scan(instant{&answer.At}, &ms, &answer.Outcome, &answer.Error)
		answer.Took = time.Duration(ms) * time.Millisecond
		return answer, err
	}, `SELECT asked_at, duration_ms, outcome, error FROM lookups WHERE platform = $1 AND job_id = $2 ORDER BY asked_at`, job.Platform, job.ID)
	return list, wrap(err, "read look-ups of %s", job)
}

// FoundByAnotherName records that lookup.Job is only the creator's name for the job jobID.
// It tracks jobID. Unless the name's row has events, it moves the row's metadata to jobID
// and deletes the row.
func (s *Store) FoundByAnotherName(ctx context.Context, lookup Lookup, jobID, api string) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		if err := answerRequest(ctx, tx, lookup); err != nil {
			return err
		}
		job := tasks.JobKey{Platform: lookup.Job.Platform, ID: jobID}
		gone, err := isErased(ctx, tx, job)
		if err != nil || gone {
			return err
		}
		// Insert before locking other rows, as recorder does.
		added, err := insertJobs(ctx, tx, s.dialect, []*jobRow{{key: job, first: lookup.HeardAt, last: lookup.HeardAt, api: api}}, `DO NOTHING`)
		if err == nil && len(added) > 0 {
			err = markTracked(ctx, tx, s.dialect, job, lookup.HeardAt)
		}
		if err != nil {
			return err
		}
		return moveMetadata(ctx, tx, s.dialect, lookup.Job, job)
	})
	return wrap(err, "record that %s is job %s", lookup.Job, jobID)
}

// moveMetadata moves the metadata of a job without events to another job and deletes the
// first. It does nothing if the first has no row or has events.
func moveMetadata(ctx context.Context, tx *sql.Tx, d dialect, from, to tasks.JobKey) error {
	rows, err := lockJobs(ctx, tx, d, []tasks.JobKey{from, to})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	at := slices.IndexFunc(rows, func(row *jobRow) bool { return row.key == from })
	first, other := rows[at], rows[1-at]
	if first.facts.Source.Value != "" {
		return nil
	}
	if err := other.mergeMetadata(ctx, tx, d, first.metadata); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM jobs WHERE platform = $1 AND id = $2`, from.Platform, from.ID)
	return err
}

// JobAPI returns where Kling keeps a job, as in [tasks.JobUpdate]; empty if unknown. If
// the job has no row, it returns ErrNotFound.
func (s *Store) JobAPI(ctx context.Context, job tasks.JobKey) (string, error) {
	api, err := one(ctx, s.db, scanOne[string], `SELECT api FROM jobs WHERE platform = $1 AND id = $2`, job.Platform, job.ID)
	return api, wrap(err, "read API of job %s", job)
}
