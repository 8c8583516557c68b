package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Recording is an event to record.
type Recording struct {
	Event tasks.Event
	// Update is nil for an event that says nothing about a job.
	Update *tasks.JobUpdate
	// Destinations are notified of the event; may be empty.
	Destinations []string
}

// Owed is the work that remains after an event was recorded.
type Owed struct {
	// Processed reports that an earlier run finished the event: this one changed
	// nothing and lists nothing.
	Processed bool
	// Settled reports that the event needs no further work: it was marked as processed
	// when it was inserted.
	Settled bool
	// Buried reports that the event has an open dead letter.
	Buried bool
	// Erased reports that the event's job was deleted: nothing of the event was kept.
	Erased        bool
	Media         []Media
	Notifications []Notification
	// NoMedia is why the completed job still lacks a file, if the event lacks one.
	NoMedia string
	// FoundMedia reports that the event has the links that its job lacked.
	FoundMedia bool
	// TestCallback reports that the job may be a test callback, as in [Job].
	TestCallback bool
	// Charged are the costs that the event added to its job; Model is the job's model.
	Charged []tasks.Cost
	Model   string
}

// Record inserts events and, in the same transaction, updates their jobs and adds the
// jobs' media and one notification for each destination. It marks events that need no
// further work as processed. The caller marks the others with [Store.MarkProcessed]
// after queueing their work.
//
// For each event it returns the pending notifications and, if the event has links, all
// pending media of its job. Recording an event again changes nothing and returns the
// work that is still pending, or none once the event is processed.
func (s *Store) Record(ctx context.Context, list []Recording, at time.Time) ([]Owed, error) {
	r := recorder{dialect: s.dialect, at: at, entries: make([]*entry, len(list))}
	owed := make([]Owed, len(list))
	for i := range list {
		r.entries[i] = &entry{Recording: &list[i], owed: &owed[i]}
	}
	slices.SortStableFunc(r.entries, func(a, b *entry) int { return cmp.Compare(a.Event.ID, b.Event.ID) })
	for len(r.entries) > 0 {
		err := s.inTx(ctx, func(tx *sql.Tx) error {
			r.tx = tx
			return r.record(ctx)
		})
		if err == nil {
			break
		}
		if !errors.Is(err, tasks.ErrErased) {
			return nil, fmt.Errorf("record %d events: %w", len(list), err)
		}
		r.entries = slices.DeleteFunc(r.entries, func(e *entry) bool { return e.owed.Erased })
	}
	return owed, nil
}

// entry is an event being recorded.
type entry struct {
	*Recording
	owed *Owed
}

// settles reports whether the event needs no work after its transaction.
func (e *entry) settles() bool {
	return len(e.Destinations) == 0 && (e.Update == nil || len(e.Update.Media) == 0 && e.Update.Missing == "" && !e.Update.Unproven)
}

// recorder is a transaction that records events. To avoid deadlocks, all recorders lock
// rows in the same order: events, look-up requests, new jobs, known jobs, media,
// notifications, each by id.
type recorder struct {
	tx      *sql.Tx
	dialect dialect
	at      time.Time
	entries []*entry // by event ID
}

func (r *recorder) record(ctx context.Context) error {
	if err := r.insertEvents(ctx); err != nil {
		return err
	}
	var unproven, proven []*entry
	for _, entry := range r.entries {
		switch {
		case entry.Update != nil && entry.Update.Unproven: // each repeat requests another look-up
			unproven = append(unproven, entry)
		case entry.owed.Processed:
		default:
			proven = append(proven, entry)
		}
	}
	for _, step := range []func() error{
		func() error { return r.requestLookups(ctx, unproven) },
		func() error { return r.moveJobs(ctx, proven) },
		func() error { return r.checkErased(ctx) },
		func() error { return r.addMedia(ctx, proven) },
		func() error { return r.addNotifications(ctx, proven) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// eventState is the state of an event that has a row.
type eventState struct {
	id                string
	processed, buried bool
}

const eventStateColumns = `id, processed_at IS NOT NULL,
	EXISTS (SELECT 1 FROM dead_letters d WHERE d.event_id = events.id AND d.event_id <> '' AND d.state = 'dead')`

func scanEventState(row scanner) (state eventState, err error) {
	err = row.Scan(&state.id, &state.processed, &state.buried)
	return state, err
}

// insertEvents inserts the events that have no row yet and reads the state of the others.
func (r *recorder) insertEvents(ctx context.Context) error {
	rows := make([][]any, len(r.entries))
	for i, entry := range r.entries {
		var processed time.Time
		if entry.settles() {
			processed = r.at
		}
		var err error
		if rows[i], err = eventValues(r.dialect, entry.Event, processed); err != nil {
			return err
		}
	}
	inserted, err := insertRows(ctx, r.tx, r.dialect, scanEventState, insertEvent, rows, `ON CONFLICT (id) DO NOTHING RETURNING `+eventStateColumns)
	if err != nil {
		return fmt.Errorf("insert events: %w", err)
	}
	known := make(map[string]eventState, len(r.entries))
	for _, state := range inserted {
		known[state.id] = state
	}
	var again []string
	for _, entry := range r.entries {
		state, created := known[entry.Event.ID]
		*entry.owed = Owed{Settled: created && state.processed, Buried: state.buried}
		if !created {
			again = append(again, entry.Event.ID)
		}
	}
	if len(again) == 0 {
		return nil
	}
	var conditions where
	andIn(&conditions, "id", again)
	states, err := collect(ctx, r.tx, scanEventState, `SELECT `+eventStateColumns+` FROM events`+conditions.String(), conditions.args...)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	for _, state := range states {
		for _, entry := range r.entries {
			if entry.Event.ID == state.id {
				entry.owed.Processed, entry.owed.Buried = state.processed, state.buried
			}
		}
	}
	return nil
}

// checkErased marks the events of deleted jobs and returns [tasks.ErrErased] if there are
// any. It runs after moveJobs: a transaction that deletes a job locks the job's row first,
// so it has ended by now or waits for this one.
func (r *recorder) checkErased(ctx context.Context) error {
	jobs := make([]tasks.JobKey, len(r.entries))
	for i, entry := range r.entries {
		jobs[i] = entry.Event.Job
	}
	for chunk := range slices.Chunk(jobs, maxRows) {
		var conditions where
		conditions.andJobs("job_id", chunk)
		erased, err := collect(ctx, r.tx, scanKey, `SELECT platform, job_id FROM erasures`+conditions.String(), conditions.args...)
		if err != nil {
			return fmt.Errorf("look for deleted jobs: %w", err)
		}
		for _, entry := range r.entries {
			if slices.Contains(erased, entry.Event.Job) {
				*entry.owed = Owed{Erased: true}
			}
		}
	}
	if slices.ContainsFunc(r.entries, func(e *entry) bool { return e.owed.Erased }) {
		return tasks.ErrErased
	}
	return nil
}

// requestLookups requests look-ups of the events' jobs.
func (r *recorder) requestLookups(ctx context.Context, list []*entry) error {
	list = slices.SortedStableFunc(slices.Values(list), func(a, b *entry) int { return a.Update.Job.Compare(b.Update.Job) })
	for _, entry := range list {
		_, err := r.tx.ExecContext(ctx, `
			INSERT INTO lookup_requests (platform, job_id, api, requested_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (platform, job_id) DO UPDATE SET generation = lookup_requests.generation + 1`,
			entry.Update.Job.Platform, entry.Update.Job.ID, entry.Update.API, r.dialect.time(entry.Event.ReceivedAt))
		if err != nil {
			return fmt.Errorf("request look-up: %w", err)
		}
	}
	return nil
}
