package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// metadata combines the metadata that programs sent about a job, so that order and repeats
// make no difference: each field keeps its latest value. Two requests of the same instant
// are ordered by their hash.
type metadata struct {
	API          stamped[string]          `json:"api,omitzero"`
	Source       stamped[string]          `json:"source,omitzero"`
	Prompt       stamped[string]          `json:"prompt,omitzero"`
	Model        stamped[string]          `json:"model,omitzero"`
	ExternalID   stamped[string]          `json:"external_id,omitzero"`
	Tags         stamped[[]string]        `json:"tags,omitzero"`
	ExpectedCost stamped[tasks.Cost]      `json:"expected_cost,omitzero"`
	Custom       stamped[json.RawMessage] `json:"metadata,omitzero"`
}

// stamped is a value and when it was sent.
type stamped[T any] struct {
	Value T     `json:"value"`
	Stamp stamp `json:"stamp"`
}

// IsZero reports whether no value was sent, for omitzero.
func (s stamped[T]) IsZero() bool { return s.Stamp == stamp{} }

// merge keeps the later value.
func (s *stamped[T]) merge(o stamped[T]) {
	if o.Stamp.compare(s.Stamp) > 0 {
		*s = o
	}
}

func (m *metadata) merge(o metadata) {
	m.API.merge(o.API)
	m.Source.merge(o.Source)
	m.Prompt.merge(o.Prompt)
	m.Model.merge(o.Model)
	m.ExternalID.merge(o.ExternalID)
	m.Tags.merge(o.Tags)
	m.ExpectedCost.merge(o.ExpectedCost)
	m.Custom.merge(o.Custom)
}

// metadataAt returns metadata that was sent at a time.
func metadataAt(sent tasks.Metadata, at time.Time) (m metadata, err error) {
	text, err := encode(sent)
	if err != nil {
		return m, err
	}
	sum := sha256.Sum256([]byte(text))
	from := stamp{At: at.UTC(), Event: hex.EncodeToString(sum[:8])}
	m = metadata{Source: stampIfSet(sent.Source, from), Prompt: stampIfSet(sent.Prompt, from), Model: stampIfSet(sent.Model, from), ExternalID: stampIfSet(sent.ExternalID, from), ExpectedCost: stampIfSet(sent.ExpectedCost, from)}
	if sent.API != "" {
		m.API = stamped[string]{sent.API, from}
	}
	if sent.Tags != nil {
		m.Tags = stamped[[]string]{sent.Tags, from}
	}
	if sent.Custom != nil {
		m.Custom = stamped[json.RawMessage]{sent.Custom, from}
	}
	return m, nil
}

func stampIfSet[T any](value *T, from stamp) (s stamped[T]) {
	if value != nil {
		s = stamped[T]{*value, from}
	}
	return s
}

// describe adds the metadata to a job. Kling's own prompt, model and external id win.
func (m *metadata) describe(job *Job) {
	job.Source = cmp.Or(job.Source, m.Source.Value)
	job.Prompt = cmp.Or(job.Prompt, m.Prompt.Value)
	job.Model = cmp.Or(job.Model, m.Model.Value)
	job.ExternalID = cmp.Or(job.ExternalID, m.ExternalID.Value)
	job.Tags, job.ExpectedCost = m.Tags.Value, m.ExpectedCost.Value
	if string(m.Custom.Value) != "{}" {
		job.Metadata = m.Custom.Value
	}
}

// Track adds a job before its first event, so that klinghook looks it up if no event ever
// arrives, and merges metadata that its program sent at a time. created is false if the
// job is known. It returns [tasks.ErrErased] if the job was deleted.
func (s *Store) Track(ctx context.Context, job tasks.JobKey, m tasks.Metadata, at time.Time) (created bool, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		created, err = track(ctx, tx, s.dialect, job, m, at)
		return err
	})
	return created && err == nil, wrap(err, "track job %s", job)
}

func track(ctx context.Context, tx *sql.Tx, d dialect, job tasks.JobKey, m tasks.Metadata, at time.Time) (created bool, err error) {
	sent, err := metadataAt(m, at)
	if err != nil {
		return false, err
	}
	row := &jobRow{key: job, first: at, last: at, api: m.API, metadata: sent}
	inserted, err := insertJobs(ctx, tx, d, []*jobRow{row}, `DO NOTHING`)
	if err != nil {
		return false, err
	}
	gone, err := isErased(ctx, tx, job) // after the insertion, which waits for a deletion in progress
	if err != nil || gone {
		return false, cmp.Or(err, tasks.ErrErased)
	}
	if created = len(inserted) > 0; !created {
		rows, err := lockJobs(ctx, tx, d, []tasks.JobKey{job})
		if err != nil {
			return false, err
		}
		row = rows[0]
		if err := row.mergeMetadata(ctx, tx, d, sent); err != nil {
			return false, err
		}
	}
	return created, markTracked(ctx, tx, d, job, at)
}

func markTracked(ctx context.Context, tx *sql.Tx, d dialect, job tasks.JobKey, at time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE jobs SET tracked_at = coalesce(tracked_at, $3) WHERE platform = $1 AND id = $2`, job.Platform, job.ID, d.time(at))
	return err
}

// mergeMetadata merges metadata into a locked row and writes it.
func (j *jobRow) mergeMetadata(ctx context.Context, tx *sql.Tx, d dialect, sent metadata) error {
	before := j.metadata
	j.metadata.merge(sent)
	if j.api == before.API.Value { // not from an event or a look-up
		j.api = j.metadata.API.Value
	}
	_, err := insertJobs(ctx, tx, d, []*jobRow{j}, overwriteJobs())
	return err
}
