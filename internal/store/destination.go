package store

import (
	"context"
	"database/sql"
	"iter"
	"time"
)

const (
	// PauseAfter is how long all attempts at a destination must fail before it is paused.
	PauseAfter = 24 * time.Hour
	// firstProbe is the wait before the first message that probes a paused destination.
	// The wait doubles with each probe, up to lastProbe.
	firstProbe, lastProbe = time.Minute, time.Hour
	// forgetAfter is how long to keep a destination that no worker has in its settings.
	forgetAfter = 24 * time.Hour
	// configuredEvery is how often ConfiguredAt is updated.
	configuredEvery = 10 * time.Minute
)

// Pauser says who paused a destination.
type Pauser string

// The pausers.
const (
	// PausedByFailures means that all attempts failed for PauseAfter. A successful probe
	// ends the pause.
	PausedByFailures Pauser = "failures"
	// PausedByOperator means that a person paused it. Only a person ends the pause.
	PausedByOperator Pauser = "operator"
)

// Destination is the state of a notification destination, shared by all workers.
type Destination struct {
	Name string
	// ConfiguredAt is when a worker last had it in its settings, to within minutes.
	ConfiguredAt time.Time
	// FailingSince is the time of the first failed attempt since the last success; zero if
	// the last attempt succeeded.
	FailingSince time.Time
	// PausedAt is zero if the destination is not paused. Notifications to a paused
	// destination stay pending.
	PausedAt time.Time
	PausedBy Pauser
	// ProbeAt is when the next probe is due, if failures caused the pause.
	ProbeAt time.Time

	probes   int
	attempts int64
}

const selectDestination = `SELECT name, configured_at, failing_since, paused_at, paused_by, probe_at, probes, attempts FROM destinations `

func scanDestination(row scanner) (d Destination, err error) {
	err = row.Scan(&d.Name, instant{&d.ConfiguredAt}, instant{&d.FailingSince}, instant{&d.PausedAt}, &d.PausedBy, instant{&d.ProbeAt}, &d.probes, &d.attempts)
	return d, err
}

// Destinations returns all destinations by name.
func (s *Store) Destinations(ctx context.Context) ([]Destination, error) {
	list, err := collect(ctx, s.db, scanDestination, selectDestination+`ORDER BY name`)
	return list, wrap(err, "list destinations")
}

// Destination returns a destination, or ErrNotFound.
func (s *Store) Destination(ctx context.Context, name string) (Destination, error) {
	d, err := one(ctx, s.db, scanDestination, selectDestination+`WHERE name = $1`, name)
	return d, wrap(err, "read destination %s", name)
}

// PausedDestinations returns the destinations that are paused by failures.
func (s *Store) PausedDestinations(ctx context.Context) ([]Destination, error) {
	list, err := collect(ctx, s.db, scanDestination, selectDestination+`WHERE paused_by = 'failures' ORDER BY name`)
	return list, wrap(err, "list paused destinations")
}

// ConfigureDestinations records that a worker has these destinations in its settings, and
// deletes those that no worker has had for a day, unless they have pending notifications
// or an operator paused them.
func (s *Store) ConfigureDestinations(ctx context.Context, names []string, at time.Time) error {
	for _, name := range names {
		_, err := s.db.ExecContext(ctx, `
			INSERT INTO destinations (name, configured_at) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET configured_at = excluded.configured_at WHERE destinations.configured_at < $3`,
			name, s.dialect.time(at), s.dialect.time(at.Add(-configuredEvery)))
		if err != nil {
			return wrap(err, "record destination %s", name)
		}
	}
	return wrap(s.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			DELETE FROM destinations WHERE configured_at < $1 AND paused_by <> 'operator'
			AND NOT EXISTS (SELECT 1 FROM notifications n WHERE n.destination = destinations.name AND n.state = 'pending')`, s.dialect.time(at.Add(-forgetAfter)))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM destination_attempts WHERE destination NOT IN (SELECT name FROM destinations)`)
		return err
	}), "delete old destinations")
}

// PauseDestination pauses a destination until [Store.ResumeDestination]. It returns
// ErrNotFound if the destination does not exist.
func (s *Store) PauseDestination(ctx context.Context, name string, at time.Time) error {
	return s.changeDestination(ctx, "pause", name, `paused_at = coalesce(paused_at, $2), paused_by = 'operator', probe_at = NULL, probes = 0`, s.dialect.time(at))
}

// ResumeDestination ends a pause. The destination is paused again if all attempts fail for
// another PauseAfter. It returns ErrNotFound if the destination does not exist.
func (s *Store) ResumeDestination(ctx context.Context, name string) error {
	return s.changeDestination(ctx, "resume", name, `paused_at = NULL, paused_by = '', probe_at = NULL, probes = 0, failing_since = NULL`)
}

func (s *Store) changeDestination(ctx context.Context, what, name, change string, args ...any) error {
	_, err := one(ctx, s.db, scanOne[string], `UPDATE destinations SET `+change+` WHERE name = $1 RETURNING name`, append([]any{name}, args...)...)
	return wrap(err, "%s destination %q", what, name)
}

// SendGate says whether a message may be sent to a destination.
type SendGate int

// The gates.
const (
	GateOpen SendGate = iota
	// GateProbe lets one message through, to probe a paused destination.
	GateProbe
	// GateClosed means that the destination is paused.
	GateClosed
)

// GateOf reports whether a message may be sent to a destination now. If a probe is due,
// only one caller gets GateProbe, and the next probe is scheduled.
func (s *Store) GateOf(ctx context.Context, name string, now time.Time) (SendGate, error) {
	list, err := collect(ctx, s.db, scanDestination, selectDestination+`WHERE name = $1 AND paused_at IS NOT NULL`, name)
	if err != nil || len(list) == 0 {
		return GateOpen, wrap(err, "check destination %s", name)
	}
	if d := list[0]; d.PausedBy == PausedByFailures && !d.ProbeAt.After(now) {
		mine, err := collect(ctx, s.db, scanOne[string], `
			UPDATE destinations SET probes = probes + 1, probe_at = $3 WHERE name = $1 AND probes = $2 AND paused_by = 'failures' RETURNING name`,
			name, d.probes, s.dialect.time(now.Add(min(firstProbe<<min(d.probes+1, 10), lastProbe))))
		if err != nil {
			return GateClosed, wrap(err, "claim probe of destination %s", name)
		}
		if len(mine) > 0 {
			return GateProbe, nil
		}
	}
	return GateClosed, nil
}

// pendingDestinations steps through the index to select the destinations that have pending
// notifications and are not paused. It ignores the pause of a destination that no worker
// has in its settings: its notifications become dead letters.
const pendingDestinations = `
	WITH RECURSIVE pending (name) AS (
		SELECT min(destination) FROM notifications WHERE state = 'pending'
		UNION ALL
		SELECT (SELECT min(destination) FROM notifications WHERE state = 'pending' AND destination > pending.name) FROM pending WHERE pending.name IS NOT NULL
	)
	SELECT name FROM pending WHERE name IS NOT NULL
	AND NOT EXISTS (SELECT 1 FROM destinations d WHERE d.name = pending.name AND d.paused_at IS NOT NULL AND d.configured_at >= $1)`

const owedNotifications = `WHERE state = 'pending' AND destination = $1 AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4`

// OwedNotifications yields the pending notifications of each destination that is not
// paused, oldest first, in batches of at most limit.
func (s *Store) OwedNotifications(ctx context.Context, now time.Time, limit int) iter.Seq2[[]Notification, error] {
	return func(yield func([]Notification, error) bool) {
		names, err := collect(ctx, s.db, scanOne[string], pendingDestinations, s.dialect.time(now.Add(-forgetAfter)))
		if err != nil {
			yield(nil, wrap(err, "list destinations with owed notifications"))
			return
		}
		for _, name := range names {
			for list, err := range s.owedTo(ctx, name, limit) {
				if !yield(list, err) {
					return
				}
			}
		}
	}
}

func (s *Store) owedTo(ctx context.Context, name string, limit int) iter.Seq2[[]Notification, error] {
	return batches(limit, []any{s.dialect.time(longAgo), ""}, func(after []any) ([]Notification, error) {
		list, err := collect(ctx, s.db, scanNotification, selectNotification+owedNotifications, append(append([]any{name}, after...), limit)...)
		return list, wrap(err, "list notifications owed to %s", name)
	}, func(notification Notification) []any {
		return []any{s.dialect.time(notification.CreatedAt), notification.ID}
	})
}

// DueProbes returns a pending notification for each destination with a due probe. It
// alternates between the oldest and the newest, because one message may always fail.
func (s *Store) DueProbes(ctx context.Context, now time.Time) (due []Notification, err error) {
	paused, err := collect(ctx, s.db, scanDestination, selectDestination+`WHERE paused_by = 'failures' AND probe_at <= $1 ORDER BY name`, s.dialect.time(now))
	for _, d := range paused {
		order := `created_at, id`
		if d.probes%2 == 1 {
			order = `created_at DESC, id DESC`
		}
		list, queryErr := collect(ctx, s.db, scanNotification, selectNotification+`WHERE state = 'pending' AND destination = $1 ORDER BY `+order+` LIMIT 1`, d.Name)
		if queryErr != nil {
			err = queryErr
			break
		}
		due = append(due, list...)
	}
	return due, wrap(err, "list due probes")
}

// CountPending counts a destination's pending notifications, up to [CountLimit].
func (s *Store) CountPending(ctx context.Context, name string) (int, error) {
	n, err := s.countUpTo(ctx, pendingOf, name)
	return n, wrap(err, "count notifications for %s", name)
}

const pendingOf = `notifications WHERE state = 'pending' AND destination = $1`
