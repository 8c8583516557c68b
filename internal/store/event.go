package store

import (
	"cmp"
	"context"
	"database/sql"
	"iter"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// StoredEvent is an event in the database.
type StoredEvent struct {
	tasks.Event
	// ProcessedAt is when all tasks that follow from the event were queued; zero while
	// the event is owed.
	ProcessedAt time.Time
}

const selectEvent = `
	SELECT id, source, type, platform, job_id, received_at, secret, headers, body, processed_at
	FROM events `

func scanEvent(row scanner) (event StoredEvent, err error) {
	err = row.Scan(&event.ID, &event.Source, &event.Type, &event.Job.Platform, &event.Job.ID, instant{&event.ReceivedAt}, &event.Secret, asJSON{&event.Headers}, &event.Body, instant{&event.ProcessedAt})
	return event, err
}

const insertEvent = `INSERT INTO events (id, source, type, platform, job_id, received_at, secret, headers, body, processed_at)`

// eventValues returns the column values of an event's row.
func eventValues(d dialect, event tasks.Event, processed time.Time) ([]any, error) {
	headers, err := encode(event.Headers)
	return []any{
		event.ID, event.Source, event.Type, event.Job.Platform, event.Job.ID, d.time(event.ReceivedAt), event.Secret, headers, append([]byte{}, event.Body...), d.time(processed),
	}, err
}

// KeepEvent inserts an event without its effects: it is owed until it is recorded and
// marked as processed. It reports whether the event is new: one that has a row stays as it
// is. If its job was deleted, KeepEvent keeps nothing and returns [tasks.ErrErased].
func (s *Store) KeepEvent(ctx context.Context, event tasks.Event) (isNew bool, err error) {
	values, err := eventValues(s.dialect, event, time.Time{})
	if err == nil {
		err = s.inTx(ctx, func(tx *sql.Tx) error {
			gone, err := isErased(ctx, tx, event.Job)
			if err != nil || gone {
				return cmp.Or(err, tasks.ErrErased)
			}
			kept, err := insertRows(ctx, tx, s.dialect, scanOne[string], insertEvent, [][]any{values}, `ON CONFLICT (id) DO NOTHING RETURNING id`)
			isNew = len(kept) > 0
			return err
		})
	}
	return isNew, wrap(err, "keep event %s", event.ID)
}

// NameEvent sets the type and the job of an event that was kept before they were known.
func (s *Store) NameEvent(ctx context.Context, event tasks.Event) error {
	_, err := s.db.ExecContext(ctx, `UPDATE events SET type = $2, platform = $3, job_id = $4 WHERE id = $1`, event.ID, event.Type, event.Job.Platform, event.Job.ID)
	return wrap(err, "name event %s", event.ID)
}

// MarkProcessed records that all tasks that follow from the events are queued. An event
// that is already processed keeps its time.
func (s *Store) MarkProcessed(ctx context.Context, eventIDs []string, at time.Time) error {
	if len(eventIDs) == 0 {
		return nil
	}
	var conditions where
	conditions.args = append(conditions.args, s.dialect.time(at))
	andIn(&conditions, "id", eventIDs)
	// Ordered, so that two calls for the same events lock them in the same order.
	_, err := s.db.ExecContext(ctx, `UPDATE events SET processed_at = coalesce(processed_at, $1) WHERE id IN (SELECT id FROM events`+conditions.String()+
		` ORDER BY id`+s.dialect.forUpdate+`)`, conditions.args...)
	return wrap(err, "mark %d events processed", len(eventIDs))
}

// Event returns an event, or ErrNotFound.
func (s *Store) Event(ctx context.Context, id string) (StoredEvent, error) {
	event, err := one(ctx, s.db, scanEvent, selectEvent+`WHERE id = $1`, id)
	return event, wrap(err, "read event %s", id)
}

// EventQuery selects a page of events, newest first. The zero value selects all.
type EventQuery struct {
	// Job selects the events of a job.
	Job          tasks.JobKey
	Type, Source string
	// Since and Until bound the time of receipt. Until is excluded.
	Since, Until time.Time
	// Unprocessed selects events that are owed.
	Unprocessed bool
	// Before is the last position of the previous page; zero for the first page.
	Before Position
	// Limit is the maximum number of events; 0 means 50.
	Limit int
}

// EventRow is an event in a list, without its headers and body.
type EventRow struct {
	StoredEvent
	// Size is the length of the body in bytes.
	Size int64
}

// Position returns the event's place in lists.
func (e EventRow) Position() Position { return Position{e.ReceivedAt, e.ID} }

// ListEvents returns a page of events, newest first.
func (s *Store) ListEvents(ctx context.Context, q EventQuery) ([]EventRow, error) {
	conditions := q.where(s.dialect)
	list, err := collect(ctx, s.reads, func(row scanner) (e EventRow, err error) {
		err = row.Scan(&e.ID, &e.Source, &e.Type, &e.Job.Platform, &e.Job.ID, instant{&e.ReceivedAt}, &e.Secret, instant{&e.ProcessedAt}, &e.Size)
		return e, err
	}, listEvents+conditions.String()+` ORDER BY received_at DESC, id DESC`+conditions.limit(cmp.Or(max(q.Limit, 0), defaultLimit)), conditions.args...)
	return list, wrap(err, "list events")
}

const listEvents = `SELECT id, source, type, platform, job_id, received_at, secret, processed_at, length(body) FROM events`

func (q EventQuery) where(d dialect) (conditions where) {
	conditions.andIf(q.Job.ID != "", "platform = ? AND job_id = ?", storable(q.Job.Platform), storable(q.Job.ID))
	conditions.andIf(q.Type != "", "type = ?", storable(q.Type))
	conditions.andIf(q.Source != "", "source = ?", storable(q.Source))
	conditions.andIf(!q.Since.IsZero(), "received_at >= ?", d.time(q.Since))
	conditions.andIf(!q.Until.IsZero(), "received_at < ?", d.time(q.Until))
	conditions.andIf(q.Unprocessed, "processed_at IS NULL")
	conditions.before(d, q.Before)
	return conditions
}

// EventFilter selects events. The zero value selects all.
type EventFilter struct {
	// Job selects the events of a job.
	Job  tasks.JobKey
	Type string
	// IDPrefix is the start of the id.
	IDPrefix string
	// Unprocessed selects events that are owed.
	Unprocessed bool
	// Limit is the maximum number of events; 0 means no limit.
	Limit int
}

// Events returns the selected events, last received first.
func (s *Store) Events(ctx context.Context, f EventFilter) ([]StoredEvent, error) {
	conditions := f.where()
	events, err := collect(ctx, s.db, scanEvent, selectEvent+conditions.String()+` ORDER BY received_at DESC, id`+conditions.limit(f.Limit), conditions.args...)
	return events, wrap(err, "list events")
}

// EventIDs returns the ids of a job's events.
func (s *Store) EventIDs(ctx context.Context, job tasks.JobKey) ([]string, error) {
	conditions := EventFilter{Job: job}.where()
	ids, err := collect(ctx, s.db, scanOne[string], `SELECT id FROM events`+conditions.String(), conditions.args...)
	return ids, wrap(err, "list event ids of %s", job)
}

func (f EventFilter) where() (conditions where) {
	conditions.andIf(f.Job.ID != "", "platform = ? AND job_id = ?", f.Job.Platform, f.Job.ID)
	conditions.andIf(f.Type != "", "type = ?", f.Type)
	// Ids are compared by byte: all that have the prefix sort before the prefix plus the
	// last Unicode character.
	conditions.andIf(f.IDPrefix != "", "id >= ? AND id < ?", f.IDPrefix, f.IDPrefix+"\U0010FFFF")
	conditions.andIf(f.Unprocessed, "processed_at IS NULL")
	return conditions
}

const selectOwedEvents = `
	SELECT id, received_at FROM events
	WHERE processed_at IS NULL AND (received_at, id) > ($1, $2)
		AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.event_id = events.id AND d.event_id <> '' AND d.state <> 'replayed')
	ORDER BY received_at, id LIMIT $3`

// OwedEvent is an event that is not processed.
type OwedEvent struct {
	ID         string
	ReceivedAt time.Time
}

// OwedEvents yields the events that are not processed, oldest first, in batches of at
// most limit. It omits events that have a dead letter, which wait for a person.
func (s *Store) OwedEvents(ctx context.Context, limit int) iter.Seq2[[]OwedEvent, error] {
	return batches(limit, []any{s.dialect.time(longAgo), ""}, func(after []any) ([]OwedEvent, error) {
		list, err := collect(ctx, s.db, func(row scanner) (event OwedEvent, err error) {
			err = row.Scan(&event.ID, instant{&event.ReceivedAt})
			return event, err
		}, selectOwedEvents, append(after, limit)...)
		return list, wrap(err, "list owed events")
	}, func(event OwedEvent) []any { return []any{s.dialect.time(event.ReceivedAt), event.ID} })
}
