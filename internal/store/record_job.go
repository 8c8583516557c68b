package store

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// jobRow is what of a job's row updates are taken into.
type jobRow struct {
	id          string
	facts       *facts
	first, last time.Time
	api         string
	lookups     int
	lookupAt    time.Time
}

func scanJobRow(row scanner) (*jobRow, error) {
	j := new(jobRow)
	var text string
	err := row.Scan(&j.id, &text, instant{&j.first}, instant{&j.last}, &j.api, &j.lookups, instant{&j.lookupAt})
	if err != nil {
		return nil, err
	}
	j.facts, err = decodeFacts(text)
	return j, err
}

// take takes what an event says of the job in.
func (j *jobRow) take(ev tasks.Event, up tasks.JobUpdate) {
	before := j.facts.view(j.id)
	j.facts.apply(ev.Source, up)
	now := j.facts.view(j.id)
	// Kling may date each answer anew: one that says what was known is no news.
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

// jobColumns are those of which jobValues has the values.
const jobColumns = `id, status, progress, prompt, model, duration_ms, error, external_id, source, contradicted,
	created_at, started_at, finished_at, first_received_at, last_received_at, facts, api, lookups, lookup_at`

func (r *recorder) jobValues(row *jobRow) ([]any, error) {
	text, err := row.facts.encode()
	if err != nil {
		return nil, err
	}
	j := row.facts.view(row.id)
	return []any{
		j.ID, j.Status, j.Progress, j.Prompt, j.Model, j.Duration.Milliseconds(), j.Error,
		j.ExternalID, j.Source, j.Contradicted, r.dialect.time(j.CreatedAt), r.dialect.time(j.StartedAt),
		r.dialect.time(j.FinishedAt), r.dialect.time(row.first), r.dialect.time(row.last), text, row.api, row.lookups, r.dialect.time(row.lookupAt),
	}, nil
}

// moveJobs takes the updates into the jobs' rows. These are locked from here to the
// end of the transaction, so that events of one job follow one another.
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
	known, err := r.lockJobs(ctx, ids, r.dialect.forUpdate)
	if err != nil {
		return err
	}
	unknown := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return known[id] != nil })
	raced, err := r.makeJobs(ctx, unknown, updates)
	if err != nil {
		return err
	}
	if len(raced) > 0 {
		// To wait for these now would be to wait out of order.
		more, err := r.lockJobs(ctx, raced, r.dialect.forUpdateFree)
		if err != nil {
			return err
		}
		if len(more) < len(raced) {
			return errRaced
		}
		maps.Copy(known, more)
	}
	return r.updateJobs(ctx, known, updates)
}

// lockJobs reads and locks the rows of those jobs that have one.
func (r *recorder) lockJobs(ctx context.Context, ids []string, lock string) (map[string]*jobRow, error) {
	var w where
	andIn(&w, "id", ids)
	list, err := collect(ctx, r.tx, scanJobRow, `SELECT id, facts, first_received_at, last_received_at, api, lookups, lookup_at FROM jobs`+
		w.String()+` ORDER BY id`+lock, w.args...)
	if err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	rows := make(map[string]*jobRow, len(ids))
	for _, row := range list {
		rows[row.id] = row
	}
	return rows, nil
}

// makeJobs writes the rows of jobs of which nothing was known, and returns those that
// others have written meanwhile.
func (r *recorder) makeJobs(ctx context.Context, ids []string, updates map[string][]*entry) (raced []string, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var values [][]any
	for _, id := range ids {
		row := &jobRow{id: id, facts: new(facts)}
		for _, e := range updates[id] {
			row.take(e.Event, *e.Update)
		}
		v, err := r.jobValues(row)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	made, err := insertRows(ctx, r.tx, scanText, `INSERT INTO jobs (`+jobColumns+`)`, values, `ON CONFLICT (id) DO NOTHING RETURNING id`)
	if err != nil {
		return nil, fmt.Errorf("insert jobs: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(made, id) }), nil
}

// updateJobs writes the rows, which are locked, anew.
func (r *recorder) updateJobs(ctx context.Context, known map[string]*jobRow, updates map[string][]*entry) error {
	if len(known) == 0 {
		return nil
	}
	var values [][]any
	for _, id := range slices.Sorted(maps.Keys(known)) {
		row := known[id]
		for _, e := range updates[id] {
			row.take(e.Event, *e.Update)
		}
		v, err := r.jobValues(row)
		if err != nil {
			return err
		}
		values = append(values, v)
	}
	// All of them conflict: it is the way in which both databases update many rows.
	_, err := insertRows(ctx, r.tx, scanText, `INSERT INTO jobs (`+jobColumns+`)`, values, `
		ON CONFLICT (id) DO UPDATE SET status = excluded.status, progress = excluded.progress, prompt = excluded.prompt, model = excluded.model,
			duration_ms = excluded.duration_ms, error = excluded.error, external_id = excluded.external_id, source = excluded.source,
			contradicted = excluded.contradicted, created_at = excluded.created_at, started_at = excluded.started_at,
			finished_at = excluded.finished_at, first_received_at = excluded.first_received_at, last_received_at = excluded.last_received_at,
			facts = excluded.facts, api = excluded.api, lookups = excluded.lookups, lookup_at = excluded.lookup_at
		RETURNING id`)
	return wrap("update jobs", err)
}
