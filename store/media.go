package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// MediaState is how far a file of a job is.
type MediaState string

// The states of media.
const (
	// MediaPending is owed: it is to be fetched from its link.
	MediaPending MediaState = "pending"
	// MediaStored is whole in the bucket.
	MediaStored MediaState = "stored"
	// MediaFailed was given up; a newer link makes it pending again.
	MediaFailed MediaState = "failed"
)

// Media is a file of a job.
type Media struct {
	JobID string
	// Name is what the file is to its job: "video", "video-2", "thumbnail".
	Name string
	// URL is the sender's newest link. Its query holds a signature: it is not for
	// logs.
	URL   string
	State MediaState
	// Object is the file's name in the bucket; Size is in bytes, SHA256 in hex.
	// They are empty until it is stored.
	Object      string
	Size        int64
	SHA256      string
	ContentType string
	// Error is why the last attempt failed, for a file that was given up.
	Error                          string
	CreatedAt, UpdatedAt, StoredAt time.Time
}

// queryer is what reads rows: a database or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func queryMedia(ctx context.Context, q queryer, where string, args ...any) ([]Media, error) {
	return collect(ctx, q, scanMedia, `
		SELECT job_id, name, url, state, object, size_bytes, sha256, content_type, error, created_at, updated_at, stored_at
		FROM media `+where, args...)
}

func scanMedia(row scanner) (Media, error) {
	var m Media
	err := row.Scan(&m.JobID, &m.Name, &m.URL, &m.State, &m.Object, &m.Size, &m.SHA256, &m.ContentType, &m.Error,
		instant{&m.CreatedAt}, instant{&m.UpdatedAt}, instant{&m.StoredAt})
	return m, err
}

// MediaOf returns a job's media by name.
func (s *Store) MediaOf(ctx context.Context, jobID string) ([]Media, error) {
	media, err := queryMedia(ctx, s.db, `WHERE job_id = $1 ORDER BY name`, jobID)
	if err != nil {
		return nil, fmt.Errorf("read media of %s: %w", jobID, err)
	}
	return media, nil
}

// PendingMedia returns all media that is owed, the oldest first.
func (s *Store) PendingMedia(ctx context.Context) ([]Media, error) {
	media, err := queryMedia(ctx, s.db, `WHERE state = 'pending' ORDER BY created_at`)
	if err != nil {
		return nil, fmt.Errorf("list pending media: %w", err)
	}
	return media, nil
}

// Medium returns one file of a job, or ErrNotFound.
func (s *Store) Medium(ctx context.Context, jobID, name string) (Media, error) {
	media, err := queryMedia(ctx, s.db, `WHERE job_id = $1 AND name = $2`, jobID, name)
	if err == nil && len(media) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Media{}, fmt.Errorf("read media %s of %s: %w", name, jobID, err)
	}
	return media[0], nil
}

// MediaStored notes that a file is whole in the bucket. m carries the link that
// it was fetched from in URL, and what was stored. When the file's link has come
// to name another resource meanwhile, the row stays as it is and superseded is
// true: the file is owed from the new link.
func (s *Store) MediaStored(ctx context.Context, m Media, at time.Time) (superseded bool, err error) {
	res, err := s.db.ExecContext(ctx, `
		UPDATE media SET state = 'stored', object = $4, size_bytes = $5, sha256 = $6, content_type = $7,
			error = '', updated_at = $8, stored_at = $8
		WHERE job_id = $1 AND name = $2 AND resource = $3`,
		m.JobID, m.Name, resource(m.URL), m.Object, m.Size, m.SHA256, m.ContentType, s.dialect.time(at))
	n, err := affected(res, err)
	if err != nil {
		return false, fmt.Errorf("keep media %s of %s: %w", m.Name, m.JobID, err)
	}
	return n == 0, nil
}

// MediaFailed notes that a file was given up, and why. A file that is stored, or
// whose link was renewed since, stays as it is.
func (s *Store) MediaFailed(ctx context.Context, m Media, reason string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE media SET state = 'failed', error = $4, updated_at = $5
		WHERE job_id = $1 AND name = $2 AND url = $3 AND state = 'pending'`,
		m.JobID, m.Name, m.URL, storable(reason), s.dialect.time(at))
	if err != nil {
		return fmt.Errorf("give up media %s of %s: %w", m.Name, m.JobID, err)
	}
	return nil
}

// ReopenMedia makes a file that was given up owed again.
func (s *Store) ReopenMedia(ctx context.Context, jobID, name string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE media SET state = 'pending', error = '', updated_at = $3 WHERE job_id = $1 AND name = $2 AND state = 'failed'`,
		jobID, name, s.dialect.time(at))
	if err != nil {
		return fmt.Errorf("reopen media %s of %s: %w", name, jobID, err)
	}
	return nil
}
