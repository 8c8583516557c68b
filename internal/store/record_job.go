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
	j := new(jobRow)
	err := row.Scan(&j.id, asJSON{&j.facts}, instant{&j.first}, instant{&j.last}, &j.api, &j.lookups, instant{&j.lookupAt})
	return j, err
}

// fold applies an event to the job.
func (j *jobRow) fold(ev tasks.Event, up tasks.JobUpdate) {
	before := j.facts.view(j.id)
	j.facts.apply(ev.Source, up)
	now := j.facts.view(j.id)
	// Kling may give each answer a new date: an answer that changes nothing is not news.
	moved := ev.Source != tasks.SourceLookup || now.Status != before.Status || !reflect.DeepEqual(now.Progress, before.Progress)
	if (moved || j.last.IsZero()) && ev.ReceivedAt.After(j.last) {
		j.last = ev.ReceivedAt
	}
	j.first = earlier(j.first, ev.ReceivedAt)
	if j.api == "" {
		j.api = up.API
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
	v := j.facts.view(j.id)
	return []any{
		v.ID, v.Status, v.Progress, v.Prompt, v.Model, v.Duration.Milliseconds(), v.Error,
		v.ExternalID, v.Source, v.Contradicted, d.time(v.CreatedAt), d.time(v.StartedAt),
		d.time(v.FinishedAt), d.time(j.first), d.time(j.last), text, j.api, j.lookups, d.time(j.lookupAt),
	}, err
}

// moveJobs folds events into the rows of their jobs. Rows that exist are locked until
// the transaction ends, so that events of one job follow one another.
func (r *recorder) moveJobs(ctx context.Context, list []*entry) error {
	updates := make(map[string][]*entry)
	for _, e := range list {
		if e.Update != nil {
			updates[e.Update.JobID] = append(updates[e.Update.JobID], e)
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
	var w where
	andIn(&w, "id", known)
	rows, err = collect(ctx, r.tx, scanJobRow, `SELECT id, facts, first_received_at, last_received_at, api, lookups, lookup_at FROM jobs`+
		w.String()+` ORDER BY id`+r.dialect.forUpdate, w.args...)
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
	// All of these conflict: it is how both databases update many rows at once.
	_, err = r.writeJobs(ctx, rows, updates, `DO UPDATE SET `+strings.Join(assign[1:], ", "))
	return wrap(err, "update jobs")
}

// writeJobs folds the updates into rows, writes them, and returns the ids of those
// that were written.
func (r *recorder) writeJobs(ctx context.Context, rows []*jobRow, updates map[string][]*entry, onConflict string) ([]string, error) {
	values := make([][]any, len(rows))
	for i, row := range rows {
		for _, e := range updates[row.id] {
			row.fold(e.Event, *e.Update)
		}
		var err error
		if values[i], err = row.values(r.dialect); err != nil {
			return nil, err
		}
	}
	return insertRows(ctx, r.tx, scanOne[string], `INSERT INTO jobs (`+jobColumns+`)`, values, `ON CONFLICT (id) `+onConflict+` RETURNING id`)
}
