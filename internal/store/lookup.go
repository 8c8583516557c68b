package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Lookup is a job that Kling is to be asked about.
type Lookup struct {
	JobID string
	// Known reports that the job has a row. One that was only named by a sender who
	// proved nothing has none until Kling has spoken of it.
	Known bool
	// API is where Kling keeps the job, as in [tasks.JobUpdate]; empty when nobody
	// said.
	API string
	// Asked is how often Kling was asked since the job last moved.
	Asked int
	// HeardAt is when the job was last heard of, or told of by [Store.Track].
	HeardAt time.Time
	// Request is which request this answers; 0 when nobody asked.
	Request int64
}

func scanLookup(row scanner) (Lookup, error) {
	var l Lookup
	err := row.Scan(&l.JobID, &l.Known, &l.API, &l.Asked, instant{&l.HeardAt}, &l.Request)
	return l, err
}

// Track makes a job known before anything was heard of it, so that it can be asked
// for when nothing ever is. api is where it was submitted, as in [tasks.JobUpdate];
// it may be empty. A job that is known already is left as it is, but for an api that
// it did not have.
func (s *Store) Track(ctx context.Context, jobID, api string, at time.Time) (created bool, err error) {
	now := s.dialect.time(at)
	res, err := s.db.ExecContext(ctx, `
		INSERT INTO jobs (id, status, api, tracked_at, first_received_at, last_received_at) VALUES ($1, $2, $3, $4, $4, $4)
		ON CONFLICT (id) DO NOTHING`, jobID, tasks.StatusCreated, api, now)
	if err != nil {
		return false, fmt.Errorf("track job %s: %w", jobID, err)
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return n > 0, err
	}
	_, err = s.db.ExecContext(ctx, `
		UPDATE jobs SET tracked_at = coalesce(tracked_at, $2), api = CASE WHEN api = '' THEN $3 ELSE api END WHERE id = $1`,
		jobID, now, api)
	if err != nil {
		return false, fmt.Errorf("track job %s: %w", jobID, err)
	}
	return false, nil
}

// RequestFilter chooses requested look-ups.
type RequestFilter struct {
	// Known chooses between jobs that have a row and those that were only named.
	Known bool
	// Newest puts the latest request first, not the one that has waited longest.
	Newest bool
	// Now is the time by which one that was put off must be due again.
	Now time.Time
	// Limit is how many are returned at most.
	Limit int
}

// RequestedLookups returns jobs that somebody asked to be looked up.
func (s *Store) RequestedLookups(ctx context.Context, f RequestFilter) ([]Lookup, error) {
	direction := ""
	if f.Newest {
		direction = "DESC"
	}
	list, err := collect(ctx, s.db, scanLookup, `
		SELECT r.job_id, j.id IS NOT NULL, coalesce(nullif(j.api, ''), r.api), coalesce(j.lookups, 0), coalesce(j.last_received_at, r.requested_at), r.generation
		FROM lookup_requests r LEFT JOIN jobs j ON j.id = r.job_id
		WHERE (j.id IS NOT NULL) = $1 AND (r.retry_at IS NULL OR r.retry_at <= $2)
		ORDER BY coalesce(r.retry_at, r.requested_at) `+direction+`, r.job_id LIMIT $3`, f.Known, s.dialect.time(f.Now), f.Limit)
	if err != nil {
		return nil, fmt.Errorf("list requested look-ups: %w", err)
	}
	return list, nil
}

// StaleJobs returns unfinished jobs that are due for a look-up: nothing was heard of
// them since heardBefore and they were not asked for since, or the time that
// [Store.LookedUp] or [Store.PostponeLookup] set has come. Those that have been due
// longest come first, limit at most.
func (s *Store) StaleJobs(ctx context.Context, heardBefore, now time.Time, limit int) ([]Lookup, error) {
	// Each half has an index of its own, which ends where nothing more is due.
	list, err := collect(ctx, s.db, scanLookup, `
		SELECT id, TRUE, api, lookups, last_received_at, 0 FROM (
			SELECT * FROM (
				SELECT id, api, lookups, last_received_at, last_received_at AS due FROM jobs
				WHERE status IN ('created', 'processing') AND lookup_at IS NULL AND last_received_at <= $1
				ORDER BY last_received_at LIMIT $3) never
			UNION ALL SELECT * FROM (
				SELECT id, api, lookups, last_received_at, lookup_at AS due FROM jobs
				WHERE status IN ('created', 'processing') AND lookup_at <= $2 AND last_received_at <= $1
				ORDER BY lookup_at LIMIT $3) again
		) stale ORDER BY due, id LIMIT $3`, s.dialect.time(heardBefore), s.dialect.time(now), limit)
	if err != nil {
		return nil, fmt.Errorf("list stale jobs: %w", err)
	}
	return list, nil
}

// LookedUp notes that Kling was asked about a job, and when to ask next if the job
// does not move until then. One that was requested does not count among those by
// which klinghook asks ever more rarely, and at most puts the next one off: whoever
// sends callbacks has no say in that. A request that came while Kling was asked stays.
//
// What l says of the API is kept with the job.
func (s *Store) LookedUp(ctx context.Context, l Lookup, next time.Time) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		if err := answerRequest(ctx, tx, l); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE jobs SET lookups = CASE WHEN $2 THEN lookups + 1 ELSE lookups END,
				lookup_at = CASE WHEN $2 OR lookup_at IS NULL OR lookup_at < $3 THEN $3 ELSE lookup_at END,
				api = CASE WHEN $4 = '' THEN api ELSE $4 END
			WHERE id = $1`, l.JobID, l.Request == 0, s.dialect.time(next), l.API)
		return err
	})
	if err != nil {
		return fmt.Errorf("note look-up of %s: %w", l.JobID, err)
	}
	return nil
}

func answerRequest(ctx context.Context, tx *sql.Tx, l Lookup) error {
	if l.Request == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM lookup_requests WHERE job_id = $1 AND generation = $2`, l.JobID, l.Request)
	return err
}

// PostponeLookup puts a look-up that failed off, behind all others that are due: one
// job about which Kling has nothing but trouble holds up no other.
func (s *Store) PostponeLookup(ctx context.Context, l Lookup, until time.Time) error {
	query := `UPDATE jobs SET lookup_at = $2 WHERE id = $1`
	if l.Request != 0 {
		query = `UPDATE lookup_requests SET retry_at = $2 WHERE job_id = $1`
	}
	if _, err := s.db.ExecContext(ctx, query, l.JobID, s.dialect.time(until)); err != nil {
		return fmt.Errorf("put look-up of %s off: %w", l.JobID, err)
	}
	return nil
}

// FoundByAnotherName notes that what was looked up in l is the name that its creator
// gave to a job, whose own id is jobID: it is waited for under that, and no more under
// the name, unless something was heard under that too.
func (s *Store) FoundByAnotherName(ctx context.Context, l Lookup, jobID, api string) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		if err := answerRequest(ctx, tx, l); err != nil {
			return err
		}
		// What is there before what is new, as where events are recorded.
		if _, err := tx.ExecContext(ctx, `DELETE FROM jobs WHERE id = $1 AND facts = '{}'`, l.JobID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO jobs (id, status, api, tracked_at, first_received_at, last_received_at) VALUES ($1, $2, $3, $4, $4, $4)
			ON CONFLICT (id) DO NOTHING`, jobID, tasks.StatusCreated, api, s.dialect.time(l.HeardAt))
		return err
	})
	if err != nil {
		return fmt.Errorf("note that %s is job %s: %w", l.JobID, jobID, err)
	}
	return nil
}

// JobAPI returns where Kling keeps a job, as in [tasks.JobUpdate]; empty when nobody
// said. The error is ErrNotFound when the job is not known.
func (s *Store) JobAPI(ctx context.Context, jobID string) (string, error) {
	api, err := scanText(s.db.QueryRowContext(ctx, `SELECT api FROM jobs WHERE id = $1`, jobID))
	if err != nil {
		return "", fmt.Errorf("read API of job %s: %w", jobID, notFound(err))
	}
	return api, nil
}

// ExpiringSoon is how long before the end of its life a link counts as dying soon: a
// tenth of that life.
func ExpiringSoon(lifetime time.Duration) time.Duration { return lifetime / 10 }

// ExpiringMedia returns the media that is owed and whose link dies before a time,
// those that die first at the front: a link is taken to live this long from when
// the sender gave it, by the sender's clock, else from when its file was first
// heard of.
func (s *Store) ExpiringMedia(ctx context.Context, lifetime time.Duration, before time.Time) ([]ExpiringMedia, error) {
	list, err := collect(ctx, s.db, scanExpiring, `SELECT job_id, name, links, created_at FROM media WHERE state = 'pending'`)
	if err != nil {
		return nil, fmt.Errorf("list expiring media: %w", err)
	}
	var expiring []ExpiringMedia
	for _, m := range list {
		m.ExpiresAt = m.ExpiresAt.Add(lifetime)
		if m.ExpiresAt.Before(before) {
			expiring = append(expiring, m)
		}
	}
	slices.SortFunc(expiring, func(a, b ExpiringMedia) int {
		return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), cmp.Compare(a.JobID, b.JobID), cmp.Compare(a.Name, b.Name))
	})
	return expiring, nil
}

// ExpiringMedia is a file that is not stored yet, and when its link dies.
type ExpiringMedia struct {
	JobID, Name string
	ExpiresAt   time.Time
}

// scanExpiring reads when the link of a file was given.
func scanExpiring(row scanner) (ExpiringMedia, error) {
	var m ExpiringMedia
	var text string
	if err := row.Scan(&m.JobID, &m.Name, &text, instant{&m.ExpiresAt}); err != nil {
		return m, err
	}
	var f linkedFile
	if err := json.Unmarshal([]byte(text), &f.links); err != nil {
		return m, fmt.Errorf("decode links: %w", err)
	}
	if len(f.links) > 0 && !f.current().Stamp.At.IsZero() {
		m.ExpiresAt = f.current().Stamp.At
	}
	return m, nil
}

// requestLookups asks for jobs to be looked up, in the transaction that keeps the
// events which call for it.
func (r *recorder) requestLookups(ctx context.Context, list []*entry) error {
	list = slices.SortedStableFunc(slices.Values(list), func(a, b *entry) int { return cmp.Compare(a.Update.JobID, b.Update.JobID) })
	for _, e := range list {
		_, err := r.tx.ExecContext(ctx, `
			INSERT INTO lookup_requests (job_id, api, requested_at) VALUES ($1, $2, $3)
			ON CONFLICT (job_id) DO UPDATE SET generation = lookup_requests.generation + 1`,
			e.Update.JobID, e.Update.API, r.dialect.time(e.Event.ReceivedAt))
		if err != nil {
			return fmt.Errorf("request look-up: %w", err)
		}
	}
	return nil
}
