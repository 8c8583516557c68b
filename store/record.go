package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Owed is what is still to be done after an event was recorded.
type Owed struct {
	// Processed reports that an earlier run has finished with the event: nothing
	// was changed and nothing is listed.
	Processed bool
	// Buried reports that recording the event was given up before: it has a dead
	// letter that is dead.
	Buried        bool
	Media         []Media
	Notifications []Notification
}

// Record keeps an event and, in the same transaction, moves its job forward,
// lists the job's media and one notification for each destination. update is
// nil for an event that means nothing for a job; destinations is empty for one
// that nobody is told of.
//
// It returns the job's media and notifications that are owed. Recording an event
// again changes nothing and returns what is owed by then; once
// [Store.MarkProcessed] was called it returns nothing.
func (s *Store) Record(ctx context.Context, ev tasks.Event, update *tasks.JobUpdate, destinations []string) (Owed, error) {
	var owed Owed
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		r := recorder{tx: tx, dialect: s.dialect, ev: ev}
		var err error
		if owed.Processed, owed.Buried, err = r.keepEvent(ctx); err != nil || owed.Processed {
			return err
		}
		if update != nil && update.Unproven {
			return r.requestLookup(ctx, *update)
		}
		if update != nil {
			if err := r.moveJob(ctx, *update); err != nil {
				return err
			}
			if owed.Media, err = r.oweMedia(ctx, *update); err != nil {
				return err
			}
		}
		owed.Notifications, err = r.oweNotifications(ctx, destinations)
		return err
	})
	if err != nil {
		return Owed{}, fmt.Errorf("record event %s: %w", ev.ID, err)
	}
	return owed, nil
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

// MarkProcessed notes that everything that follows from an event is queued. The
// first time counts.
//
// PostgreSQL does not sync it to the disk at once: where it is lost, a sweep has the
// event recorded again, with the same result.
func (s *Store) MarkProcessed(ctx context.Context, eventID string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE events SET processed_at = $1 WHERE id = $2 AND processed_at IS NULL`+s.dialect.andUnsynced,
		s.dialect.time(at), eventID)
	if err != nil {
		return fmt.Errorf("mark event %s processed: %w", eventID, err)
	}
	return nil
}

// recorder is the transaction that records one event.
type recorder struct {
	tx      *sql.Tx
	dialect dialect
	ev      tasks.Event
}

// keepEvent writes the event's row where there is none yet.
func (r *recorder) keepEvent(ctx context.Context) (processed, buried bool, err error) {
	headers, err := json.Marshal(r.ev.Headers)
	if err != nil {
		return false, false, fmt.Errorf("encode headers: %w", err)
	}
	body := r.ev.Body
	if body == nil {
		body = []byte{}
	}
	const buriedEvent = `EXISTS (SELECT 1 FROM dead_letters d WHERE d.event_id = events.id AND d.event_id <> '' AND d.state = 'dead')`
	err = r.tx.QueryRowContext(ctx, `
		INSERT INTO events (id, source, type, job_id, received_at, secret, headers, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO NOTHING
		RETURNING `+buriedEvent,
		r.ev.ID, r.ev.Source, r.ev.Type, r.ev.JobID, r.dialect.time(r.ev.ReceivedAt), r.ev.Secret, string(headers), body).Scan(&buried)
	if !errors.Is(err, sql.ErrNoRows) {
		return false, buried, wrap("insert event", err)
	}
	err = r.tx.QueryRowContext(ctx, `SELECT processed_at IS NOT NULL, `+buriedEvent+` FROM events WHERE id = $1`, r.ev.ID).Scan(&processed, &buried)
	return processed, buried, wrap("read event", err)
}

// wrap says what an error came from; nil stays nil.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// moveJob takes the update into the job's row. The row is locked from here to
// the end of the transaction, so that events of one job follow one another.
func (r *recorder) moveJob(ctx context.Context, up tasks.JobUpdate) error {
	row, err := r.lockJob(ctx, up.JobID)
	if errors.Is(err, ErrNotFound) {
		var made bool
		if made, err = r.makeJob(ctx, up); made || err != nil {
			return err
		}
		// Another event of the job was faster, and is committed by now.
		row, err = r.lockJob(ctx, up.JobID)
	}
	if err != nil {
		return err
	}
	before := row.facts.view(up.JobID)
	row.facts.apply(r.ev.Source, up)
	text, err := row.facts.encode()
	if err != nil {
		return err
	}
	j := row.facts.view(up.JobID)
	// Kling may date each answer anew: one that says what was known is no news.
	moved := r.ev.Source != tasks.SourceLookup || j.Status != before.Status || !reflect.DeepEqual(j.Progress, before.Progress)
	if moved && r.ev.ReceivedAt.After(row.last) {
		row.last = r.ev.ReceivedAt
	}
	_, err = r.tx.ExecContext(ctx, `
		UPDATE jobs SET status = $2, progress = $3, prompt = $4, model = $5, duration_ms = $6, error = $7,
			external_id = $8, source = $9, contradicted = $10, created_at = $11, started_at = $12,
			finished_at = $13, first_received_at = $14, last_received_at = $15, facts = $16, api = CASE WHEN api = '' THEN $17 ELSE api END,
			lookups = CASE WHEN $18 THEN 0 ELSE lookups END, lookup_at = CASE WHEN $18 THEN NULL ELSE lookup_at END
		WHERE id = $1`,
		append(r.jobValues(j, earlier(row.first, r.ev.ReceivedAt), row.last, text, up.API), moved)...)
	return wrap("update job", err)
}

// jobRow is what of a job's row an update is taken into.
type jobRow struct {
	facts       *facts
	first, last time.Time
}

// lockJob reads and locks a job's row; its error matches ErrNotFound where there is
// none.
func (r *recorder) lockJob(ctx context.Context, jobID string) (row jobRow, err error) {
	var text string
	err = r.tx.QueryRowContext(ctx, `SELECT facts, first_received_at, last_received_at FROM jobs WHERE id = $1`+r.dialect.forUpdate, jobID).
		Scan(&text, instant{&row.first}, instant{&row.last})
	if err != nil {
		return row, wrap("read job", notFound(err))
	}
	row.facts, err = decodeFacts(text)
	return row, err
}

// makeJob writes the row of a job of which nothing was known; made is false where
// there is one by now.
func (r *recorder) makeJob(ctx context.Context, up tasks.JobUpdate) (made bool, err error) {
	f := new(facts)
	f.apply(r.ev.Source, up)
	text, err := f.encode()
	if err != nil {
		return false, err
	}
	res, err := r.tx.ExecContext(ctx, `
		INSERT INTO jobs (id, status, progress, prompt, model, duration_ms, error, external_id, source, contradicted,
			created_at, started_at, finished_at, first_received_at, last_received_at, facts, api)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		ON CONFLICT (id) DO NOTHING`, r.jobValues(f.view(up.JobID), r.ev.ReceivedAt, r.ev.ReceivedAt, text, up.API)...)
	if err != nil {
		return false, wrap("insert job", err)
	}
	return inserted(res)
}

// jobValues are the values of a job's columns, in the order in which both statements
// have them.
func (r *recorder) jobValues(j Job, first, last time.Time, text, api string) []any {
	return []any{
		j.ID, j.Status, j.Progress, j.Prompt, j.Model, j.Duration.Milliseconds(), j.Error,
		j.ExternalID, j.Source, j.Contradicted, r.dialect.time(j.CreatedAt), r.dialect.time(j.StartedAt),
		r.dialect.time(j.FinishedAt), r.dialect.time(first), r.dialect.time(last), text, api,
	}
}

// inserted reports whether an INSERT that does nothing on conflict did something.
func inserted(res sql.Result) (bool, error) {
	n, err := res.RowsAffected()
	return n > 0, err
}

// oweMedia takes in the update's links and returns what of the job's media is
// still to be fetched.
func (r *recorder) oweMedia(ctx context.Context, up tasks.JobUpdate) ([]Media, error) {
	for _, link := range up.Media {
		if err := r.takeLink(ctx, up, link); err != nil {
			return nil, fmt.Errorf("keep link of %s: %w", link.Name, err)
		}
	}
	return queryMedia(ctx, r.tx, `WHERE job_id = $1 AND state = 'pending' ORDER BY name`, up.JobID)
}

// takeLink takes a file's link in.
func (r *recorder) takeLink(ctx context.Context, up tasks.JobUpdate, given tasks.MediaLink) error {
	f := new(linkedFile)
	f.take(given.URL, stampOf(up))
	links, err := f.encode()
	if err != nil {
		return err
	}
	res, err := r.tx.ExecContext(ctx, `
		INSERT INTO media (job_id, name, url, links, state, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $6)
		ON CONFLICT (job_id, name) DO NOTHING`,
		up.JobID, given.Name, f.current().URL, links, f.state(), r.dialect.time(r.ev.ReceivedAt))
	if err != nil {
		return err
	}
	if first, err := inserted(res); first || err != nil {
		return err
	}
	from := stampOf(up)
	return changeLinks(ctx, r.tx, r.dialect, up.JobID, given.Name, r.ev.ReceivedAt, func(f *linkedFile) {
		if given.Renews == "" {
			f.take(given.URL, from)
			return
		}
		// It is as old as the answer, however long ago the job ended.
		if from.At.Before(r.ev.ReceivedAt) {
			from.At = r.ev.ReceivedAt.UTC()
		}
		f.renew(given.URL, from, given.Renews)
	})
}

// oweNotifications writes a notification for each destination and returns those
// that are still to be sent.
func (r *recorder) oweNotifications(ctx context.Context, destinations []string) ([]Notification, error) {
	var owed []Notification
	for _, destination := range destinations {
		n := notificationOf(r.ev, destination)
		id := n.ID
		n, err := scanNotification(r.tx.QueryRowContext(ctx, `
			INSERT INTO notifications (id, job_id, event_id, type, destination, state, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, 'pending', $6, $6)
			ON CONFLICT (id) DO NOTHING
			RETURNING `+notificationColumns,
			n.ID, n.JobID, n.EventID, n.Type, n.Destination, r.dialect.time(r.ev.ReceivedAt)))
		if errors.Is(err, ErrNotFound) { // there is one already
			n, err = scanNotification(r.tx.QueryRowContext(ctx, selectNotification+`WHERE id = $1`, id))
		}
		if err != nil {
			return nil, fmt.Errorf("insert notification: %w", err)
		}
		if n.State == NotificationPending {
			owed = append(owed, n)
		}
	}
	return owed, nil
}

// notificationOf names what a destination is told because of an event. A job is
// created, completes, fails, is cancelled or is lost once, however many events say so, and
// each is told once. Every other event is told for itself.
func notificationOf(ev tasks.Event, destination string) Notification {
	n := Notification{JobID: ev.JobID, Type: ev.Type, Destination: destination}
	switch {
	case ev.JobID == "":
		n.EventID = ev.ID
	case !slices.Contains([]string{tasks.TypeCreated, tasks.TypeCompleted, tasks.TypeFailed, tasks.TypeCancelled, tasks.TypeLost}, ev.Type):
		n.EventID = ev.ID
	}
	h := sha256.New()
	for _, part := range []string{n.JobID, n.EventID, n.Type, n.Destination} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	n.ID = "ntf_" + hex.EncodeToString(h.Sum(nil)[:12])
	return n
}
