package store

import (
	"context"
	"database/sql"
	"encoding/json"
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
	// MediaFailed was given up with all of its links; another makes it pending
	// again.
	MediaFailed MediaState = "failed"
)

// Media is a file of a job.
type Media struct {
	JobID string
	// Name is what the file is to its job: "video", "video-2", "thumbnail".
	Name string
	// URL is the link that counts: of those that the sender gave, the newest that
	// was not given up. Its query holds a signature: it is not for logs.
	URL string
	// TaskLink is the link by which the task is named that fetches the file from URL:
	// URL itself, or the dead link in whose place it was asked for.
	TaskLink string
	// GivenUp is the newest link, where that was given up, else empty; GivenUpTask is
	// the link by which its task is named.
	GivenUp, GivenUpTask string
	State                MediaState
	// Object is the file's name in the bucket; Size is in bytes, SHA256 in hex.
	// They are empty until it is stored.
	Object      string
	Size        int64
	SHA256      string
	ContentType string
	// Error is why the last attempt at a pending file failed; else why the newest
	// link was given up, also of a file that is stored from an older one.
	Error                          string
	CreatedAt, UpdatedAt, StoredAt time.Time
}

// queryer is what reads rows: a database or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func queryMedia(ctx context.Context, q queryer, where string, args ...any) ([]Media, error) {
	return collect(ctx, q, scanMedia, `
		SELECT job_id, name, url, links, state, object, size_bytes, sha256, content_type, error, created_at, updated_at, stored_at
		FROM media `+where, args...)
}

func scanMedia(row scanner) (Media, error) {
	var m Media
	var text string
	err := row.Scan(&m.JobID, &m.Name, &m.URL, &text, &m.State, &m.Object, &m.Size, &m.SHA256, &m.ContentType, &m.Error,
		instant{&m.CreatedAt}, instant{&m.UpdatedAt}, instant{&m.StoredAt})
	if err != nil {
		return m, err
	}
	var f linkedFile
	if err := json.Unmarshal([]byte(text), &f.links); err != nil {
		return m, fmt.Errorf("decode links: %w", err)
	}
	m.TaskLink = m.URL
	if len(f.links) == 0 {
		return m, nil
	}
	m.TaskLink = f.current().task()
	if newest := f.links[0]; newest.Dead != "" {
		m.GivenUp, m.GivenUpTask = newest.URL, newest.task()
	}
	return m, nil
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

// StoreMedia publishes a file and notes it, in one transaction that locks the
// file's row: what the bucket has and what the row says cannot part, however many
// downloads of it run at once. m carries the link that it was fetched from in URL,
// and what publish will make visible.
//
// When by now another link counts, which names another resource, or the file is
// stored from this one already, publish is not called, and superseded is true. An
// error of publish leaves the row as it is.
func (s *Store) StoreMedia(ctx context.Context, m Media, at time.Time, publish func() error) (superseded bool, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		f, err := readLinks(ctx, tx, s.dialect, m.JobID, m.Name)
		if err != nil {
			return err
		}
		refuted := f.refute(m.URL)
		if f.state() != MediaPending || resource(f.current().URL) != resource(m.URL) {
			if superseded = true; !refuted {
				return nil
			}
			return writeLinks(ctx, tx, s.dialect, m.JobID, m.Name, at, f)
		}
		if err := publish(); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE media SET object = $3, size_bytes = $4, sha256 = $5, content_type = $6, stored_at = $7
			WHERE job_id = $1 AND name = $2`,
			m.JobID, m.Name, m.Object, m.Size, m.SHA256, m.ContentType, s.dialect.time(at))
		if err != nil {
			return err
		}
		f.storedURL = m.URL
		return writeLinks(ctx, tx, s.dialect, m.JobID, m.Name, at, f)
	})
	if err != nil {
		return false, fmt.Errorf("store media %s of %s: %w", m.Name, m.JobID, err)
	}
	return superseded, nil
}

// MediaFailed notes that the link in m.URL is dead, and why, and returns the file
// as it stands then: another link may count now.
func (s *Store) MediaFailed(ctx context.Context, m Media, reason string, at time.Time) (Media, error) {
	err := s.changeMedia(ctx, m.JobID, m.Name, at, func(f *linkedFile) { f.bury(m.URL, reason) })
	if err != nil {
		return Media{}, fmt.Errorf("give up link of media %s of %s: %w", m.Name, m.JobID, err)
	}
	return s.Medium(ctx, m.JobID, m.Name)
}

// MediaTrouble notes why the last attempt at a file failed, for people to see while
// the next one is awaited.
func (s *Store) MediaTrouble(ctx context.Context, jobID, name, reason string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE media SET error = $3, updated_at = $4 WHERE job_id = $1 AND name = $2 AND state = 'pending'`,
		jobID, name, storable(reason), s.dialect.time(at))
	if err != nil {
		return fmt.Errorf("note trouble of media %s of %s: %w", name, jobID, err)
	}
	return nil
}

// ReopenMedia makes a file that was given up owed again.
func (s *Store) ReopenMedia(ctx context.Context, jobID, name string, at time.Time) error {
	if err := s.changeMedia(ctx, jobID, name, at, (*linkedFile).revive); err != nil {
		return fmt.Errorf("reopen media %s of %s: %w", name, jobID, err)
	}
	return nil
}

func (s *Store) changeMedia(ctx context.Context, jobID, name string, at time.Time, change func(*linkedFile)) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		return changeLinks(ctx, tx, s.dialect, jobID, name, at, change)
	})
}
