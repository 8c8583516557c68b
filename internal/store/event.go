package store

import (
	"context"
	"iter"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// StoredEvent is an event as it was kept.
type StoredEvent struct {
	tasks.Event
	// ProcessedAt is when all that follows from the event was queued; zero while the
	// event is owed.
	ProcessedAt time.Time
}

const selectEvent = `
	SELECT id, source, type, job_id, received_at, secret, headers, body, processed_at
	FROM events `

func scanEvent(row scanner) (ev StoredEvent, err error) {
	err = row.Scan(&ev.ID, &ev.Source, &ev.Type, &ev.JobID, instant{&ev.ReceivedAt}, &ev.Secret, asJSON{&ev.Headers}, &ev.Body, instant{&ev.ProcessedAt})
	return ev, err
}

const insertEvent = `INSERT INTO events (id, source, type, job_id, received_at, secret, headers, body, processed_at)`

// eventValues returns the columns of an event's row.
func eventValues(d dialect, ev tasks.Event, processed time.Time) ([]any, error) {
	headers, err := encode(ev.Headers)
	return []any{
		ev.ID, ev.Source, ev.Type, ev.JobID, d.time(ev.ReceivedAt), ev.Secret, headers, append([]byte{}, ev.Body...), d.time(processed),
	}, err
}

// KeepEvent inserts an event without recording what follows from it: it is owed until
// it is recorded and marked as processed. Keeping an event that has a row changes
// nothing.
func (s *Store) KeepEvent(ctx context.Context, ev tasks.Event) error {
	values, err := eventValues(s.dialect, ev, time.Time{})
	if err == nil {
		_, err = s.db.ExecContext(ctx, insertEvent+` VALUES `+tuples(1, len(values))+` ON CONFLICT (id) DO NOTHING`, values...)
	}
	return wrap(err, "keep event %s", ev.ID)
}

// MarkProcessed notes that everything that follows from the events is queued. For each
// event the first time counts.
func (s *Store) MarkProcessed(ctx context.Context, eventIDs []string, at time.Time) error {
	if len(eventIDs) == 0 {
		return nil
	}
	var w where
	w.args = append(w.args, s.dialect.time(at))
	andIn(&w, "id", eventIDs)
	// Ordered, so that two calls for the same events lock them in the same order.
	_, err := s.db.ExecContext(ctx, `UPDATE events SET processed_at = coalesce(processed_at, $1) WHERE id IN (SELECT id FROM events`+w.String()+
		` ORDER BY id`+s.dialect.forUpdate+`)`, w.args...)
	return wrap(err, "mark %d events processed", len(eventIDs))
}

// Event returns an event, or ErrNotFound.
func (s *Store) Event(ctx context.Context, id string) (StoredEvent, error) {
	ev, err := one(ctx, s.db, scanEvent, selectEvent+`WHERE id = $1`, id)
	return ev, wrap(err, "read event %s", id)
}

// EventFilter selects events. The zero value selects all.
type EventFilter struct {
	JobID string
	Type  string
	// IDPrefix is how the id begins.
	IDPrefix string
	// Unprocessed selects events that are owed.
	Unprocessed bool
	// Limit is the most events to return; 0 is no limit.
	Limit int
}

// Events returns the selected events, the last received first.
func (s *Store) Events(ctx context.Context, f EventFilter) ([]StoredEvent, error) {
	w := f.where()
	events, err := collect(ctx, s.db, scanEvent, selectEvent+w.String()+` ORDER BY received_at DESC, id`+w.limit(f.Limit), w.args...)
	return events, wrap(err, "list events")
}

func (f EventFilter) where() (w where) {
	w.andIf(f.JobID != "", "job_id = ?", f.JobID)
	w.andIf(f.Type != "", "type = ?", f.Type)
	// Ids are compared by their bytes: nothing with the prefix sorts after the last
	// character of Unicode behind it.
	w.andIf(f.IDPrefix != "", "id >= ? AND id < ?", f.IDPrefix, f.IDPrefix+"\U0010FFFF")
	w.andIf(f.Unprocessed, "processed_at IS NULL")
	return w
}

// selectOwedEvents leaves out events that are buried: they wait for a person.
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
// most limit. It leaves out those that have a dead letter: they wait for a person.
func (s *Store) OwedEvents(ctx context.Context, limit int) iter.Seq2[[]OwedEvent, error] {
	return batches(limit, []any{s.dialect.time(longAgo), ""}, func(after []any) ([]OwedEvent, error) {
		list, err := collect(ctx, s.db, func(row scanner) (ev OwedEvent, err error) {
			err = row.Scan(&ev.ID, instant{&ev.ReceivedAt})
			return ev, err
		}, selectOwedEvents, append(after, limit)...)
		return list, wrap(err, "list owed events")
	}, func(ev OwedEvent) []any { return []any{s.dialect.time(ev.ReceivedAt), ev.ID} })
}
