package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Recording is an event that is to be recorded.
type Recording struct {
	Event tasks.Event
	// Update is nil for an event that means nothing for a job.
	Update *tasks.JobUpdate
	// Destinations are who is told of the event; empty for one that nobody is told of.
	Destinations []string
}

// Owed is what is still to be done after an event was recorded.
type Owed struct {
	// Processed reports that an earlier run has finished with the event: nothing
	// was changed and nothing is listed.
	Processed bool
	// Settled reports that nothing follows from the event, which counts as processed
	// already.
	Settled bool
	// Buried reports that recording the event was given up before: it has a dead
	// letter that is dead.
	Buried        bool
	Media         []Media
	Notifications []Notification
}

// errStoring is that a file's row is locked: the file is being stored.
var errStoring = errors.New("the file is being stored")

// errRaced is that another transaction was faster, and that one must begin anew.
var errRaced = errors.New("another transaction has made, and holds, a job of this one")

// Record records one event, as [Store.RecordAll] does, but leaves it to be marked as
// processed, whatever follows from it. Where it has the link of a file that is being
// stored, it waits until that is.
func (s *Store) Record(ctx context.Context, ev tasks.Event, update *tasks.JobUpdate, destinations []string) (Owed, error) {
	r := recorder{dialect: s.dialect, wait: true}
	owed, err := s.record(ctx, r, []Recording{{Event: ev, Update: update, Destinations: destinations}})
	if err != nil {
		return Owed{}, fmt.Errorf("record event %s: %w", ev.ID, err)
	}
	return owed[0], nil
}

// RecordAll keeps events, of which no two have the same ID, and, in the same
// transaction, moves their jobs forward, lists the jobs' media and one notification
// for each destination. What of them nothing follows from counts as processed at a
// time.
//
// It returns, for each, the notifications that are owed, and of one that has links
// all of the job's media that is. Recording an event again changes nothing and returns
// what is owed by then; once it counts as processed, nothing.
//
// It fails where one has the link of a file that is being stored, for which the others
// should not wait.
func (s *Store) RecordAll(ctx context.Context, list []Recording, at time.Time) ([]Owed, error) {
	owed, err := s.record(ctx, recorder{dialect: s.dialect, at: at}, list)
	if err != nil {
		return nil, fmt.Errorf("record %d events: %w", len(list), err)
	}
	return owed, nil
}

// record has a recorder record events, again as long as others come in between.
func (s *Store) record(ctx context.Context, r recorder, list []Recording) ([]Owed, error) {
	for {
		owed, err := s.recordOnce(ctx, r, list)
		if !errors.Is(err, errRaced) {
			return owed, err
		}
	}
}

func (s *Store) recordOnce(ctx context.Context, r recorder, list []Recording) ([]Owed, error) {
	entries := make([]*entry, len(list))
	for i, r := range list {
		entries[i] = &entry{Recording: r}
	}
	r.list = slices.Clone(entries)
	slices.SortFunc(r.list, func(a, b *entry) int { return cmp.Compare(a.Event.ID, b.Event.ID) })
	for i, e := range r.list[min(1, len(r.list)):] {
		if e.Event.ID == r.list[i].Event.ID {
			return nil, fmt.Errorf("event %s is there twice", e.Event.ID)
		}
	}
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		r.tx = tx
		return r.record(ctx)
	})
	if err != nil {
		return nil, err
	}
	owed := make([]Owed, len(entries))
	for i, e := range entries {
		owed[i] = e.owed
	}
	return owed, nil
}

// KeepEvent inserts an event without recording what follows from it: it stays owed
// until it is recorded. Keeping an event that has a row changes nothing.
func (s *Store) KeepEvent(ctx context.Context, ev tasks.Event) error {
	r := recorder{dialect: s.dialect}
	values, err := r.eventValues(&entry{Recording: Recording{Event: ev}})
	if err == nil {
		_, err = s.db.ExecContext(ctx, insertEvent+` VALUES `+tuples(1, len(values))+` ON CONFLICT (id) DO NOTHING`, values...)
	}
	return wrap("keep event "+ev.ID, err)
}

// KeptEvents reports which of the events, by ID, need to be in no queue any more:
// they are in the store, as themselves or as what a dead letter is about.
func (s *Store) KeptEvents(ctx context.Context, ids []string) (map[string]bool, error) {
	kept := make(map[string]bool, len(ids))
	if len(ids) == 0 {
		return kept, nil
	}
	var recorded, dead where
	andIn(&recorded, "id", ids)
	dead.andIf(true, "kind = ?", tasks.KindEventRecord)
	andIn(&dead, "event_id", ids)
	for query, w := range map[string]where{`SELECT id FROM events`: recorded, `SELECT event_id FROM dead_letters`: dead} {
		list, err := collect(ctx, s.db, scanText, query+w.String(), w.args...)
		if err != nil {
			return nil, fmt.Errorf("look for events: %w", err)
		}
		for _, id := range list {
			kept[id] = true
		}
	}
	return kept, nil
}

// MarkProcessed is [Store.MarkAllProcessed] for one event.
func (s *Store) MarkProcessed(ctx context.Context, eventID string, at time.Time) error {
	return s.MarkAllProcessed(ctx, []string{eventID}, at)
}

// MarkAllProcessed notes that everything that follows from the events is queued. Of
// each the first time counts.
//
// PostgreSQL does not sync it to the disk at once: where it is lost, a sweep has the
// events recorded again, with the same result.
func (s *Store) MarkAllProcessed(ctx context.Context, eventIDs []string, at time.Time) error {
	if len(eventIDs) == 0 {
		return nil
	}
	var w where
	w.args = append(w.args, s.dialect.time(at))
	andIn(&w, "id", eventIDs)
	// Two that mark the same events lock them in the same order.
	_, err := s.db.ExecContext(ctx, `UPDATE events SET processed_at = $1 WHERE id IN (SELECT id FROM events`+w.String()+
		` ORDER BY id`+s.dialect.forUpdate+`) AND processed_at IS NULL`+s.dialect.andUnsynced, w.args...)
	switch {
	case err != nil && len(eventIDs) == 1:
		return fmt.Errorf("mark event %s processed: %w", eventIDs[0], err)
	case err != nil:
		return fmt.Errorf("mark %d events processed: %w", len(eventIDs), err)
	}
	return nil
}

// entry is an event while it is recorded.
type entry struct {
	Recording
	owed Owed
}

// settles reports that nothing follows from the event but what is written with it.
func (e *entry) settles() bool {
	return len(e.Destinations) == 0 && (e.Update == nil || len(e.Update.Media) == 0 && !e.Update.Unproven)
}

// recorder is the transaction that records events. Any two lock what they have in
// common in the same order: events, requests for look-ups, jobs, media, notifications,
// and of each of these the one whose id comes first.
type recorder struct {
	tx      *sql.Tx
	dialect dialect
	// at is when that which nothing follows from counts as processed; zero for not yet.
	at time.Time
	// wait is whether to wait for files that are being stored.
	wait bool
	// list is in the order of the events' IDs.
	list []*entry
}

func (r *recorder) record(ctx context.Context) error {
	if err := r.keepEvents(ctx); err != nil {
		return err
	}
	var unproven, proven []*entry
	for _, e := range r.list {
		switch {
		case e.owed.Processed:
		case e.Update != nil && e.Update.Unproven:
			unproven = append(unproven, e)
		default:
			proven = append(proven, e)
		}
	}
	if err := r.requestLookups(ctx, unproven); err != nil {
		return err
	}
	if err := r.moveJobs(ctx, proven); err != nil {
		return err
	}
	if err := r.oweMedia(ctx, proven); err != nil {
		return err
	}
	return r.oweNotifications(ctx, proven)
}

const insertEvent = `INSERT INTO events (id, source, type, job_id, received_at, secret, headers, body, processed_at)`

// keepEvents writes the rows of the events that have none yet.
func (r *recorder) keepEvents(ctx context.Context) error {
	const buriedEvent = `EXISTS (SELECT 1 FROM dead_letters d WHERE d.event_id = events.id AND d.event_id <> '' AND d.state = 'dead')`
	rows := make([][]any, len(r.list))
	for i, e := range r.list {
		var err error
		if rows[i], err = r.eventValues(e); err != nil {
			return err
		}
	}
	kept, err := insertRows(ctx, r.tx, scanKept, insertEvent, rows,
		`ON CONFLICT (id) DO NOTHING RETURNING id, FALSE, `+buriedEvent)
	if err != nil {
		return fmt.Errorf("insert events: %w", err)
	}
	known := make(map[string]keptEvent, len(r.list))
	for _, k := range kept {
		known[k.id] = k
	}
	var again []string
	for _, e := range r.list {
		if _, made := known[e.Event.ID]; made {
			e.owed.Settled = e.settles() && !r.at.IsZero()
		} else {
			again = append(again, e.Event.ID)
		}
	}
	if len(again) > 0 {
		var w where
		andIn(&w, "id", again)
		kept, err = collect(ctx, r.tx, scanKept, `SELECT id, processed_at IS NOT NULL, `+buriedEvent+` FROM events`+w.String(), w.args...)
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		for _, k := range kept {
			known[k.id] = k
		}
	}
	for _, e := range r.list {
		k, ok := known[e.Event.ID]
		if !ok {
			return fmt.Errorf("read event %s: %w", e.Event.ID, ErrNotFound)
		}
		e.owed.Processed, e.owed.Buried = k.processed, k.buried
	}
	return nil
}

// eventValues are the values of an event's columns.
func (r *recorder) eventValues(e *entry) ([]any, error) {
	ev := e.Event
	headers, err := json.Marshal(ev.Headers)
	if err != nil {
		return nil, fmt.Errorf("encode headers: %w", err)
	}
	body := ev.Body
	if body == nil {
		body = []byte{}
	}
	var processed time.Time
	if e.settles() {
		processed = r.at
	}
	return []any{ev.ID, ev.Source, ev.Type, ev.JobID, r.dialect.time(ev.ReceivedAt), ev.Secret, string(headers), body, r.dialect.time(processed)}, nil
}

// keptEvent is what is known of an event that has a row.
type keptEvent struct {
	id                string
	processed, buried bool
}

func scanKept(row scanner) (k keptEvent, err error) {
	err = row.Scan(&k.id, &k.processed, &k.buried)
	return k, err
}
