package store

import (
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
	id          string
	facts       facts
	first, last time.Time // received
	api         string
	lookups     int
	lookupAt    time.Time
}

func scanJobRow(row scanner) (*jobRow, error) {
	job := new(jobRow)
	err := row.Scan(&job.id, asJSON{&job.facts}, instant{&job.first}, instant{&job.last}, &job.api, &job.lookups, instant{&job.lookupAt})
	return job, err
}

// fold applies an event to the job.
func (j *jobRow) fold(event tasks.Event, update tasks.JobUpdate) {
	before := j.facts.view(j.id)
	j.facts.apply(event.Source, update)
	now := j.facts.view(j.id)
	// Kling may put a new time into each answer, so one that changes nothing is not news.
	moved := event.Source != tasks.SourceLookup || now.Status != before.Status || !reflect.DeepEqual(now.Progress, before.Progress)
	if (moved || j.last.IsZero()) && event.ReceivedAt.After(j.last) {
		j.last = event.ReceivedAt
	}
	j.first = earlier(j.first, event.ReceivedAt)
	if j.api == "" {
		j.api = update.API
	}
	if moved {
		j.lookups, j.lookupAt = 0, time.Time{}
	}
}

// jobColumns are the columns of jobRow.values.
const jobColumns = `id, status, progress, prompt, model, duration_ms, error, external_id, source, contradicted,
	created_at, started_at, finished_at, first_received_at, last_received_at, facts, api, lookups, lookup_at`

func (j *jobRow) values(d dialect) ([]any, error) {
	text, err := encode(j.facts)
	job := j.facts.view(j.id)
	return []any{
		job.ID, job.Status, job.Progress, job.Prompt, job.Model, job.Duration.Milliseconds(), job.Error,
		job.ExternalID, job.Source, job.Contradicted, d.time(job.CreatedAt), d.time(job.StartedAt),
		d.time(job.FinishedAt), d.time(j.first), d.time(j.last), text, j.api, j.lookups, d.time(j.lookupAt),
	}, err
}

// moveJobs applies events to the rows of their jobs. It locks existing rows until the
// transaction ends, so that two transactions never update the same job at once.
func (r *recorder) moveJobs(ctx context.Context, list []*entry) error {
	updates := make(map[string][]*entry)
	for _, entry := range list {
		if entry.Update != nil {
			updates[entry.Update.JobID] = append(updates[entry.Update.JobID], entry)
		}
	}
	if len(updates) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(updates))
	rows := make([]*jobRow, len(ids))
	for i, id := range ids {
		rows[i] = &jobRow{id: id}
	}
	inserted, err := r.writeJobs(ctx, rows, updates, `DO NOTHING`)
	if err != nil {
		return fmt.Errorf("insert jobs: %w", err)
	}
	known := slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(inserted, id) })
	if len(known) == 0 {
		return nil
	}
	var conditions where
	andIn(&conditions, "id", known)
	rows, err = collect(ctx, r.tx, scanJobRow, `SELECT id, facts, first_received_at, last_received_at, api, lookups, lookup_at FROM jobs`+
		conditions.String()+` ORDER BY id`+r.dialect.forUpdate, conditions.args...)
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
	_, err = r.writeJobs(ctx, rows, updates, `DO UPDATE SET `+strings.Join(assign[1:], ", "))
	return wrap(err, "update jobs")
}

// writeJobs applies the updates to rows, writes them, and returns the ids of the rows
// that were written.
func (r *recorder) writeJobs(ctx context.Context, rows []*jobRow, updates map[string][]*entry, onConflict string) ([]string, error) {
	values := make([][]any, len(rows))
	for i, row := range rows {
		for _, entry := range updates[row.id] {
			row.fold(entry.Event, *entry.Update)
		}
		var err error
		if values[i], err = row.values(r.dialect); err != nil {
			return nil, err
		}
	}
	return insertRows(ctx, r.tx, scanOne[string], `INSERT INTO jobs (`+jobColumns+`)`, values, `ON CONFLICT (id) `+onConflict+` RETURNING id`)
}
