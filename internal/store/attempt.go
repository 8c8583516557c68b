package store

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// KeptAttempts is the number of attempts kept for each destination.
	KeptAttempts = 10_000
	// maxAnswer is the number of bytes kept of a response body.
	maxAnswer = 1 << 10
)

// SendAttempt is an attempt to send a notification to a destination.
type SendAttempt struct {
	NotificationID string
	Destination    string
	// At is the start time.
	At       time.Time
	Duration time.Duration
	// Status is the HTTP status of a forward's response; 0 without a response, and for chat.
	Status int
	// Answer is the start of a forward's response body.
	Answer string
	// Error is empty if the attempt succeeded.
	Error string
}

// Effect is the effect of an attempt on its destination.
type Effect struct {
	// Paused and Resumed report that the attempt paused or resumed the destination.
	Paused, Resumed bool
	// Held reports that the destination is paused now.
	Held bool
	// FailingSince is the time of the first failed attempt since the last success.
	FailingSince time.Time
}

// RecordAttempts stores attempts, marks the notifications of successful ones as sent, and
// pauses or resumes their destinations, all in one transaction. It returns the effect of
// each attempt.
func (s *Store) RecordAttempts(ctx context.Context, list []SendAttempt) ([]Effect, error) {
	effects := make([]Effect, len(list))
	byDestination := map[string][]int{}
	for i, attempt := range list {
		byDestination[attempt.Destination] = append(byDestination[attempt.Destination], i)
	}
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(byDestination)) {
			indexes := byDestination[name]
			slices.SortStableFunc(indexes, func(a, b int) int { return list[a].At.Compare(list[b].At) })
			if err := s.recordAttempts(ctx, tx, name, list, indexes, effects); err != nil {
				return wrap(err, "record attempts at %s", name)
			}
		}
		return s.markSent(ctx, tx, list)
	})
	return effects, err
}

// recordAttempts stores the attempts at one destination and locks its row until the
// transaction ends.
func (s *Store) recordAttempts(ctx context.Context, tx *sql.Tx, name string, list []SendAttempt, indexes []int, effects []Effect) error {
	last := list[indexes[len(indexes)-1]].At
	before, err := one(ctx, tx, scanDestination, `
		INSERT INTO destinations (name, configured_at, attempts) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET attempts = destinations.attempts + excluded.attempts
		RETURNING name, configured_at, failing_since, paused_at, paused_by, probe_at, probes, attempts`,
		name, s.dialect.time(last), len(indexes))
	if err != nil {
		return err
	}
	after := before
	var rows [][]any
	for i, index := range indexes {
		attempt := list[index]
		effects[index] = after.apply(attempt)
		if i < len(indexes)-KeptAttempts { // a later one would overwrite it
			continue
		}
		slot := (before.attempts - int64(len(indexes)-i)) % KeptAttempts
		rows = append(rows, []any{name, slot, storable(attempt.NotificationID), s.dialect.time(attempt.At), attempt.Status, milliseconds(attempt.Duration), cutAnswer(attempt.Answer), storable(attempt.Error)})
	}
	_, err = insertRows(ctx, tx, s.dialect, scanOne[int], `INSERT INTO destination_attempts (destination, slot, notification_id, attempted_at, status, duration_ms, answer, error)`, rows, `
		ON CONFLICT (destination, slot) DO UPDATE SET notification_id = excluded.notification_id, attempted_at = excluded.attempted_at,
			status = excluded.status, duration_ms = excluded.duration_ms, answer = excluded.answer, error = excluded.error
		RETURNING slot`)
	if err != nil || after == before {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE destinations SET failing_since = $2, paused_at = $3, paused_by = $4, probe_at = $5, probes = $6 WHERE name = $1`,
		name, s.dialect.time(after.FailingSince), s.dialect.time(after.PausedAt), after.PausedBy, s.dialect.time(after.ProbeAt), after.probes)
	return err
}

// apply updates the destination after an attempt.
func (d *Destination) apply(attempt SendAttempt) (effect Effect) {
	ended := attempt.At.Add(attempt.Duration).UTC()
	switch {
	case attempt.Error == "":
		effect.Resumed = d.PausedBy == PausedByFailures
		if d.FailingSince = (time.Time{}); effect.Resumed {
			d.PausedAt, d.PausedBy, d.ProbeAt, d.probes = time.Time{}, "", time.Time{}, 0
		}
	case d.FailingSince.IsZero():
		d.FailingSince = attempt.At.UTC()
	case d.PausedAt.IsZero() && attempt.At.Sub(d.FailingSince) >= PauseAfter:
		effect.Paused = true
		d.PausedAt, d.PausedBy, d.ProbeAt, d.probes = ended, PausedByFailures, ended.Add(firstProbe), 0
	}
	effect.Held, effect.FailingSince = !d.PausedAt.IsZero(), d.FailingSince
	return effect
}

// markSent marks the notifications of successful attempts as sent.
func (s *Store) markSent(ctx context.Context, tx *sql.Tx, list []SendAttempt) error {
	list = slices.SortedFunc(slices.Values(list), func(a, b SendAttempt) int { return cmp.Compare(a.NotificationID, b.NotificationID) })
	for _, attempt := range list {
		if attempt.Error != "" {
			continue
		}
		at := s.dialect.time(attempt.At.Add(attempt.Duration))
		_, err := tx.ExecContext(ctx, `UPDATE notifications SET state = 'sent', error = '', updated_at = $2, sent_at = $2 WHERE id = $1 AND state <> 'sent'`, attempt.NotificationID, at)
		if err != nil {
			return wrap(err, "mark notification %s sent", attempt.NotificationID)
		}
	}
	return nil
}

// cutAnswer returns the start of an answer.
func cutAnswer(answer string) string {
	if len(answer) > maxAnswer {
		answer = strings.ToValidUTF8(answer[:maxAnswer], "")
	}
	return storable(answer)
}

// AttemptsAt returns at most limit stored attempts at a destination, latest first; 0 means
// no limit.
func (s *Store) AttemptsAt(ctx context.Context, name string, limit int) ([]SendAttempt, error) {
	list, err := collect(ctx, s.db, scanAttempt, selectAttempt+`
		WHERE destination = $1 ORDER BY attempted_at DESC, slot`+(&where{}).limit(limit), name)
	return list, wrap(err, "read attempts at %s", name)
}

const selectAttempt = `SELECT destination, notification_id, attempted_at, status, duration_ms, answer, error FROM destination_attempts`

func scanAttempt(row scanner) (attempt SendAttempt, err error) {
	var ms int64
	err = row.Scan(&attempt.Destination, &attempt.NotificationID, instant{&attempt.At}, &attempt.Status, &ms, &attempt.Answer, &attempt.Error)
	attempt.Duration = time.Duration(ms) * time.Millisecond
	return attempt, err
}
