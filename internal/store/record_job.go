package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// jobRow is the part of a job's row that events change.
type jobRow struct {
	seq         int64 // 0 for a new row
	key         tasks.JobKey
	facts       facts
	metadata    metadata
	first, last time.Time // received
	api         string
	lookups     int
	lookupAt    time.Time
	listed      listing // as it was read
}

func scanJobRow(row scanner) (*jobRow, error) {
	job := new(jobRow)
	err := row.Scan(&job.seq, &job.key.Platform, &job.key.ID, asJSON{&job.facts}, asJSON{&job.metadata}, instant{&job.first}, instant{&job.last}, &job.api, &job.lookups, instant{&job.lookupAt})
	job.listed = job.listing()
	return job, err
}

// fold applies an event to the job and returns the job before and after it.
func (j *jobRow) fold(event tasks.Event, update tasks.JobUpdate) (before, now Job) {
	before = j.facts.view(j.key)
	j.facts.apply(event.Source, update)
	now = j.facts.view(j.key)
	// Kling may put a new time into each answer. An answer that changes nothing is not news.
	moved := event.Source != tasks.SourceLookup || now.Status != before.Status || !reflect.DeepEqual(now.Progress, before.Progress)
	if (moved || j.last.IsZero()) && event.ReceivedAt.After(j.last) {
		j.last = event.ReceivedAt
	}
	j.first = earlier(j.first, event.ReceivedAt)
	if j.api == "" {
		j.api = update.API
	}
	switch {
	case now.NoMedia != "" && before.NoMedia == "": // look it up at once
		j.lookups, j.lookupAt = 0, event.ReceivedAt
	case now.NoMedia != "": // a repeat does not start over
	case moved || before.NoMedia != "":
		j.lookups, j.lookupAt = 0, time.Time{}
	}
	return before, now
}

// jobColumns are the columns of jobRow.values. The first three never change.
const jobColumns = `seq, platform, id, status, progress, prompt, model, duration_ms, error, external_id, source, contradicted,
	costs, no_media, test_callback, created_at, started_at, finished_at, first_received_at, last_received_at, changed_at, facts, metadata, api, lookups, lookup_at`

// job returns the job without FirstReceivedAt and LastReceivedAt.
func (j *jobRow) job() Job {
	job := j.facts.view(j.key)
	j.metadata.describe(&job)
	return job
}

// values returns the column values of the row. A known row keeps its own seq, as
// [overwriteJobs] does not update it.
func (j *jobRow) values(d dialect) ([]any, error) {
	factsText, factsErr := encode(j.facts)
	metadataText, metadataErr := encode(j.metadata)
	job := j.job()
	return []any{
		d.newSeq(j.first), job.Key.Platform, job.Key.ID, job.Status, job.Progress, job.Prompt, job.Model, job.Duration.Milliseconds(), job.Error,
		job.ExternalID, job.Source, job.Contradicted, cmp.Or(j.facts.Costs.Value, "[]"), job.NoMedia, job.TestCallback, d.time(job.CreatedAt), d.time(job.StartedAt),
		d.time(job.FinishedAt), d.time(j.first), d.time(j.last), d.time(time.Now()), factsText, metadataText, j.api, j.lookups, d.time(j.lookupAt),
	}, errors.Join(factsErr, metadataErr)
}

// moveJobs applies events to the rows of their jobs. It locks existing rows until the
// transaction ends, so that two transactions never update the same job at once.
func (r *recorder) moveJobs(ctx context.Context, list []*entry) error {
	updates := make(map[tasks.JobKey][]*entry)
	for _, entry := range list {
		if entry.Update != nil {
			updates[entry.Update.Job] = append(updates[entry.Update.Job], entry)
		}
	}
	if len(updates) == 0 {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(updates), tasks.JobKey.Compare)
	rows := make([]*jobRow, len(keys))
	for i, key := range keys {
		rows[i] = &jobRow{key: key}
	}
	inserted, err := r.writeJobs(ctx, rows, updates, `DO NOTHING`)
	if err != nil {
		return fmt.Errorf("insert jobs: %w", err)
	}
	known := slices.DeleteFunc(keys, func(key tasks.JobKey) bool { return slices.Contains(inserted, key) })
	if len(known) == 0 {
		return nil
	}
	if rows, err = lockJobs(ctx, r.tx, r.dialect, known); err != nil {
		return fmt.Errorf("read jobs: %w", err)
	}
	// All of these rows conflict. In both databases this updates many rows at once.
	_, err = r.writeJobs(ctx, rows, updates, overwriteJobs())
	return wrap(err, "update jobs")
}

// lockJobs reads jobs in order and locks their rows until the transaction ends. It returns
// ErrNotFound if one was deleted meanwhile by [Store.FoundByAnotherName]; retry.
func lockJobs(ctx context.Context, tx *sql.Tx, d dialect, keys []tasks.JobKey) ([]*jobRow, error) {
	var conditions where
	conditions.andJobs("id", keys)
	rows, err := collect(ctx, tx, scanJobRow, `SELECT seq, platform, id, facts, metadata, first_received_at, last_received_at, api, lookups, lookup_at FROM jobs`+
		conditions.String()+` ORDER BY platform, id`+d.forUpdate, conditions.args...)
	if err == nil && len(rows) < len(keys) {
		err = ErrNotFound
	}
	return rows, err
}

// overwriteJobs returns the conflict action that makes insertJobs update known rows.
func overwriteJobs() string {
	var assign []string
	for column := range strings.SplitSeq(jobColumns, ",") {
		assign = append(assign, strings.TrimSpace(column)+" = excluded."+strings.TrimSpace(column))
	}
	return `DO UPDATE SET ` + strings.Join(assign[3:], ", ")
}

// writeJobs applies the updates to rows, writes them, and returns the keys of the rows
// that were written.
func (r *recorder) writeJobs(ctx context.Context, rows []*jobRow, updates map[tasks.JobKey][]*entry, onConflict string) ([]tasks.JobKey, error) {
	for _, row := range rows {
		var now Job
		for _, entry := range updates[row.key] {
			var before Job
			before, now = row.fold(entry.Event, *entry.Update)
			entry.owed.FoundMedia = before.NoMedia != "" && now.NoMedia == ""
			entry.owed.Charged, entry.owed.Model = tasks.CostIncrease(before.Costs, now.Costs), cmp.Or(now.Model, row.metadata.Model.Value)
		}
		for _, entry := range updates[row.key] {
			entry.owed.TestCallback = now.TestCallback
			if entry.Update.Missing != "" {
				entry.owed.NoMedia = now.NoMedia
			}
		}
	}
	return insertJobs(ctx, r.tx, r.dialect, rows, onConflict)
}

// insertJobs writes rows and their listings, and returns the keys of those that were
// written.
func insertJobs(ctx context.Context, tx *sql.Tx, d dialect, rows []*jobRow, onConflict string) ([]tasks.JobKey, error) {
	values := make([][]any, len(rows))
	byKey := make(map[tasks.JobKey]*jobRow, len(rows))
	for i, row := range rows {
		byKey[row.key] = row
		var err error
		if values[i], err = row.values(d); err != nil {
			return nil, err
		}
	}
	var written []*jobRow
	keys, err := insertRows(ctx, tx, d, func(row scanner) (key tasks.JobKey, err error) {
		var seq int64
		err = row.Scan(&seq, &key.Platform, &key.ID)
		if job := byKey[key]; job != nil {
			job.seq = seq
			written = append(written, job)
		}
		return key, err
	}, `INSERT INTO jobs (`+jobColumns+`)`, values, `ON CONFLICT (platform, id) `+onConflict+` RETURNING seq, platform, id`)
	if err != nil {
		return nil, err
	}
	return keys, writeListings(ctx, tx, d, written)
}
