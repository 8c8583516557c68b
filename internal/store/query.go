package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// scanner is one row: of a query, or the only one.
type scanner interface {
	Scan(dest ...any) error
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q queryer, scan func(scanner) (T, error), query string, args ...any) (list []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// scanOne reads a row of one column.
func scanOne[T any](row scanner) (v T, err error) {
	err = row.Scan(&v)
	return v, err
}

// scanText reads the one column of a row.
func scanText(row scanner) (string, error) {
	var text string
	err := row.Scan(&text)
	return text, err
}

// notFound turns the driver's word for a missing row into ErrNotFound.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

const selectJob = `
	SELECT id, status, progress, prompt, model, duration_ms, error, external_id, source, contradicted,
		created_at, started_at, finished_at, first_received_at, last_received_at
	FROM jobs `

func scanJob(row scanner) (Job, error) {
	var j Job
	var durationMS int64
	err := row.Scan(&j.ID, &j.Status, &j.Progress, &j.Prompt, &j.Model, &durationMS, &j.Error, &j.ExternalID, &j.Source, &j.Contradicted,
		instant{&j.CreatedAt}, instant{&j.StartedAt}, instant{&j.FinishedAt}, instant{&j.FirstReceivedAt}, instant{&j.LastReceivedAt})
	j.Duration = time.Duration(durationMS) * time.Millisecond
	return j, notFound(err)
}

// Job returns a job, or ErrNotFound.
func (s *Store) Job(ctx context.Context, id string) (Job, error) {
	j, err := scanJob(s.db.QueryRowContext(ctx, selectJob+`WHERE id = $1`, id))
	if err != nil {
		return Job{}, fmt.Errorf("read job %s: %w", id, err)
	}
	return j, nil
}

// JobFilter chooses jobs. The zero value chooses all.
type JobFilter struct {
	Status tasks.Status
	// Limit is how many are returned at most; 0 is no limit.
	Limit int
}

// Jobs returns the chosen jobs, the one that was last heard of first.
func (s *Store) Jobs(ctx context.Context, f JobFilter) ([]Job, error) {
	var w where
	w.andIf(f.Status != "", "status = ?", f.Status)
	jobs, err := collect(ctx, s.db, scanJob, selectJob+w.String()+` ORDER BY last_received_at DESC, id`+w.limit(f.Limit), w.args...)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return jobs, nil
}

// StoredEvent is an event as it was kept.
type StoredEvent struct {
	tasks.Event
	// ProcessedAt is when all that follows from the event was queued; zero while
	// that is owed.
	ProcessedAt time.Time
}

const selectEvent = `
	SELECT id, source, type, job_id, received_at, secret, headers, body, processed_at
	FROM events `

func scanEvent(row scanner) (StoredEvent, error) {
	var ev StoredEvent
	var headers string
	err := row.Scan(&ev.ID, &ev.Source, &ev.Type, &ev.JobID, instant{&ev.ReceivedAt}, &ev.Secret, &headers, &ev.Body, instant{&ev.ProcessedAt})
	if err != nil {
		return ev, notFound(err)
	}
	if err := json.Unmarshal([]byte(headers), &ev.Headers); err != nil {
		return ev, fmt.Errorf("decode headers: %w", err)
	}
	return ev, nil
}

// Event returns an event, or ErrNotFound.
func (s *Store) Event(ctx context.Context, id string) (StoredEvent, error) {
	ev, err := scanEvent(s.db.QueryRowContext(ctx, selectEvent+`WHERE id = $1`, id))
	if err != nil {
		return StoredEvent{}, fmt.Errorf("read event %s: %w", id, err)
	}
	return ev, nil
}

// EventFilter chooses events. The zero value chooses all.
type EventFilter struct {
	JobID string
	Type  string
	// IDPrefix is how the id begins.
	IDPrefix string
	// Unprocessed chooses those whose consequences are still owed.
	Unprocessed bool
	// Limit is how many are returned at most; 0 is no limit.
	Limit int
}

// Events returns the chosen events, the one that was received last first.
func (s *Store) Events(ctx context.Context, f EventFilter) ([]StoredEvent, error) {
	var w where
	w.andIf(f.JobID != "", "job_id = ?", f.JobID)
	w.andIf(f.Type != "", "type = ?", f.Type)
	w.andIf(f.IDPrefix != "", "substr(id, 1, length(?)) = ?", f.IDPrefix, f.IDPrefix)
	w.andIf(f.Unprocessed, "processed_at IS NULL")
	events, err := collect(ctx, s.db, scanEvent, selectEvent+w.String()+` ORDER BY received_at DESC, id`+w.limit(f.Limit), w.args...)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return events, nil
}

// UnprocessedEvents returns all events whose consequences are owed, the oldest
// first. Those whose recording was given up and not replayed wait for a person and
// are not among them.
func (s *Store) UnprocessedEvents(ctx context.Context) ([]StoredEvent, error) {
	events, err := collect(ctx, s.db, scanEvent, selectEvent+`
		WHERE processed_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.event_id = events.id AND d.event_id <> '' AND d.state <> 'replayed')
		ORDER BY received_at`)
	if err != nil {
		return nil, fmt.Errorf("list unprocessed events: %w", err)
	}
	return events, nil
}

// wrap says what an error came from; nil stays nil.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// where gathers the conditions of a query, and their arguments. In a condition
// each ? stands for an argument.
type where struct {
	conditions []string
	args       []any
}

// andIf adds a condition when it is asked for.
func (w *where) andIf(asked bool, condition string, args ...any) {
	if !asked {
		return
	}
	for _, arg := range args {
		w.args = append(w.args, arg)
		condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	w.conditions = append(w.conditions, condition)
}

// andIn asks that a column has one of the values, of which there must be some.
func andIn[T any](w *where, column string, values []T) {
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	w.andIf(true, column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

// limit is the clause for at most n rows; 0 is no limit.
func (w *where) limit(n int) string {
	if n <= 0 {
		return ""
	}
	return " LIMIT " + strconv.Itoa(n)
}

// String is the clause with all conditions.
func (w *where) String() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}
