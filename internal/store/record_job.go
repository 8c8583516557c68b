package store

import (
	"cmp"
	"context"
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
	key         tasks.JobKey
	facts       facts
	first, last time.Time // received
	api         string
	lookups     int
	lookupAt    time.Time
}

func scanJobRow(row scanner) (*jobRow, error) {
	job := new(jobRow)
	err := row.Scan(&job.key.Platform, &job.key.ID, asJSON{&job.facts}, instant{&job.first}, instant{&job.last}, &job.api, &job.lookups, instant{&job.lookupAt})
	return job, err
}

// fold applies an event to the job and returns the job before and after it.
func (j *jobRow) fold(event tasks.Event, update tasks.JobUpdate) (before, now Job) {
	before = j.facts.view(j.key)
	j.facts.apply(event.Source, update)
	now = j.facts.view(j.key)
	// Kling may put a new time into each answer, so one that changes nothing is not news.
	moved := event.Source != tasks.SourceLookup || now.Status != before.Status || !reflect.DeepEqual(now.Progress, before.Progress)
	if (moved || j.last.IsZero()) && event.ReceivedAt.After(j.last) {
		j.last = event.ReceivedAt
	}
	j.first = earlier(j.first, event.ReceivedAt)
	if j.api == "" {
		j.api = update.API
	}
	switch {
	case now.NoMedia != "" && before.NoMedia == "": // Kling is asked at once
		j.lookups, j.lookupAt = 0, event.ReceivedAt
	case now.NoMedia != "": // a repeat does not start over
	case moved || before.NoMedia != "":
		j.lookups, j.lookupAt = 0, time.Time{}
	}
	return before, now
}

// jobColumns are the columns of jobRow.values.
const jobColumns = `platform, id, status, progress, prompt, model, duration_ms, error, external_id, source, contradicted,
	costs, no_media, test_callback, created_at, started_at, finished_at, first_received_at, last_received_at, facts, api, lookups, lookup_at`

func (j *jobRow) values(d dialect) ([]any, error) {
	text, err := encode(j.facts)
	job := j.facts.view(j.key)
	return []any{
		job.Key.Platform, job.Key.ID, job.Status, job.Progress, job.Prompt, job.Model, job.Duration.Milliseconds(), job.Error,
		job.ExternalID, job.Source, job.Contradicted, cmp.Or(j.facts.Costs.Value, "[]"), job.NoMedia, job.TestCallback, d.time(job.CreatedAt), d.time(job.StartedAt),
		d.time(job.FinishedAt), d.time(j.first), d.time(j.last), text, j.api, j.lookups, d.time(j.lookupAt),
	}, err
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
	var conditions where
	conditions.andJobs("id", known)
	rows, err = collect(ctx, r.tx, scanJobRow, `SELECT platform, id, facts, first_received_at, last_received_at, api, lookups, lookup_at FROM jobs`+
		conditions.String()+` ORDER BY platform, id`+r.dialect.forUpdate, conditions.args...)
	if err == nil && len(rows) < len(known) {
		err = ErrNotFound // deleted meanwhile, see FoundByAnotherName: retry
	}
	if err != nil {
		return fmt.Errorf("read jobs: %w", err)
	}
	var assign []string
	for column := range strings.SplitSeq(jobColumns, ",") {
		assign = append(assign, strings.TrimSpace(column)+" = excluded."+strings.TrimSpace(column))
	}
	// All of these rows conflict: both databases can update many rows in this way.
	_, err = r.writeJobs(ctx, rows, updates, `DO UPDATE SET `+strings.Join(assign[2:], ", "))
	return wrap(err, "update jobs")
}

// writeJobs applies the updates to rows, writes them, and returns the keys of the rows
// that were written.
func (r *recorder) writeJobs(ctx context.Context, rows []*jobRow, updates map[tasks.JobKey][]*entry, onConflict string) ([]tasks.JobKey, error) {
	values := make([][]any, len(rows))
	for i, row := range rows {
		var now Job
		for _, entry := range updates[row.key] {
			var before Job
			before, now = row.fold(entry.Event, *entry.Update)
			entry.owed.FoundMedia = before.NoMedia != "" && now.NoMedia == ""
			entry.owed.Charged, entry.owed.Model = tasks.CostIncrease(before.Costs, now.Costs), now.Model
		}
		for _, entry := range updates[row.key] {
			entry.owed.TestCallback = now.TestCallback
			if entry.Update.Missing != "" {
				entry.owed.NoMedia = now.NoMedia
			}
		}
		var err error
		if values[i], err = row.values(r.dialect); err != nil {
			return nil, err
		}
	}
	return insertRows(ctx, r.tx, scanKey, `INSERT INTO jobs (`+jobColumns+`)`, values, `ON CONFLICT (platform, id) `+onConflict+` RETURNING platform, id`)
}
