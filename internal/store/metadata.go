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

// told combines what programs said about a job, so that order and repeats make no
// difference: each field keeps its last value. Two statements of the same instant
// are ordered by their hash.
type told struct {
	API          said[string]          `json:"api,omitzero"`
	Source       said[string]          `json:"source,omitzero"`
	Prompt       said[string]          `json:"prompt,omitzero"`
	Model        said[string]          `json:"model,omitzero"`
	ExternalID   said[string]          `json:"external_id,omitzero"`
	Tags         said[[]string]        `json:"tags,omitzero"`
	ExpectedCost said[tasks.Cost]      `json:"expected_cost,omitzero"`
	Custom       said[json.RawMessage] `json:"metadata,omitzero"`
}

// said is a value and when it was said.
type said[T any] struct {
	Value T     `json:"value"`
	Stamp stamp `json:"stamp"`
}

// IsZero reports whether nothing was said, for omitzero.
func (s said[T]) IsZero() bool { return s.Stamp == stamp{} }

// merge keeps the later one.
func (s *said[T]) merge(o said[T]) {
	if o.Stamp.compare(s.Stamp) > 0 {
		*s = o
	}
}

func (t *told) merge(o told) {
	t.API.merge(o.API)
	t.Source.merge(o.Source)
	t.Prompt.merge(o.Prompt)
	t.Model.merge(o.Model)
	t.ExternalID.merge(o.ExternalID)
	t.Tags.merge(o.Tags)
	t.ExpectedCost.merge(o.ExpectedCost)
	t.Custom.merge(o.Custom)
}

// toldAt returns metadata said at a time.
func toldAt(m tasks.Metadata, at time.Time) (told, error) {
	text, err := encode(m)
	if err != nil {
		return told{}, err
	}
	sum := sha256.Sum256([]byte(text))
	from := stamp{At: at.UTC(), Event: hex.EncodeToString(sum[:8])}
	t := told{Source: saidAt(m.Source, from), Prompt: saidAt(m.Prompt, from), Model: saidAt(m.Model, from), ExternalID: saidAt(m.ExternalID, from), ExpectedCost: saidAt(m.ExpectedCost, from)}
	if m.API != "" {
		t.API = said[string]{m.API, from}
	}
	if m.Tags != nil {
		t.Tags = said[[]string]{m.Tags, from}
	}
	if m.Custom != nil {
		t.Custom = said[json.RawMessage]{m.Custom, from}
	}
	return t, nil
}

func saidAt[T any](value *T, from stamp) (s said[T]) {
	if value != nil {
		s = said[T]{*value, from}
	}
	return s
}

// describe completes a job. Kling's own prompt, model and external id win.
func (t *told) describe(job *Job) {
	job.Source = cmp.Or(job.Source, t.Source.Value)
	job.Prompt = cmp.Or(job.Prompt, t.Prompt.Value)
	job.Model = cmp.Or(job.Model, t.Model.Value)
	job.ExternalID = cmp.Or(job.ExternalID, t.ExternalID.Value)
	job.Tags, job.ExpectedCost = t.Tags.Value, t.ExpectedCost.Value
	if string(t.Custom.Value) != "{}" {
		job.Metadata = t.Custom.Value
	}
}

// Track adds a job before its first event, so that Kling is asked about it if none ever
// comes, and keeps what its program says about it at a time. created is false if the job
// is known. It returns [tasks.ErrErased] if the job was deleted.
func (s *Store) Track(ctx context.Context, job tasks.JobKey, m tasks.Metadata, at time.Time) (created bool, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		created, err = track(ctx, tx, s.dialect, job, m, at)
		return err
	})
	return created && err == nil, wrap(err, "track job %s", job)
}

func track(ctx context.Context, tx *sql.Tx, d dialect, job tasks.JobKey, m tasks.Metadata, at time.Time) (created bool, err error) {
	news, err := toldAt(m, at)
	if err != nil {
		return false, err
	}
	row := &jobRow{key: job, first: at, last: at, api: m.API, told: news}
	inserted, err := insertJobs(ctx, tx, d, []*jobRow{row}, `DO NOTHING`)
	if err != nil {
		return false, err
	}
	gone, err := isErased(ctx, tx, job) // not before the insertion, which waits for a deletion
	if err != nil || gone {
		return false, cmp.Or(err, tasks.ErrErased)
	}
	if created = len(inserted) > 0; !created {
		rows, err := lockJobs(ctx, tx, d, []tasks.JobKey{job})
		if err != nil {
			return false, err
		}
		row = rows[0]
		if err := row.hear(ctx, tx, d, news); err != nil {
			return false, err
		}
	}
	return created, markTracked(ctx, tx, d, job, at)
}

func markTracked(ctx context.Context, tx *sql.Tx, d dialect, job tasks.JobKey, at time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE jobs SET tracked_at = coalesce(tracked_at, $3) WHERE platform = $1 AND id = $2`, job.Platform, job.ID, d.time(at))
	return err
}

// hear merges news into a locked row and writes it.
func (j *jobRow) hear(ctx context.Context, tx *sql.Tx, d dialect, news told) error {
	before := j.told
	j.told.merge(news)
	if j.api == before.API.Value { // not from an event or a look-up
		j.api = j.told.API.Value
	}
	_, err := insertJobs(ctx, tx, d, []*jobRow{j}, overwriteJobs())
	return err
}
