package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// NotificationState is the state of a notification.
type NotificationState string

// The states of a notification.
const (
	NotificationPending NotificationState = "pending"
	NotificationSent    NotificationState = "sent"
	NotificationFailed  NotificationState = "failed"
)

// Notification is one message to one destination. It is inserted in the transaction of
// its event, and sent afterwards.
type Notification struct {
	// ID does not depend on the order and repeats of events.
	ID  string
	Job tasks.JobKey
	// EventID is the event that it reports; empty if it reports that a job was created
	// or ended, because several events may say so.
	EventID     string
	Type        string
	Destination string
	State       NotificationState
	// Error is why the last attempt failed; empty once it is sent.
	Error                        string
	CreatedAt, UpdatedAt, SentAt time.Time
}

const selectNotification = `
	SELECT id, platform, job_id, event_id, type, destination, state, error, created_at, updated_at, sent_at
	FROM notifications `

func scanNotification(row scanner) (notification Notification, err error) {
	err = row.Scan(&notification.ID, &notification.Job.Platform, &notification.Job.ID, &notification.EventID, &notification.Type, &notification.Destination, &notification.State, &notification.Error,
		instant{&notification.CreatedAt}, instant{&notification.UpdatedAt}, instant{&notification.SentAt})
	return notification, err
}

// Notification returns a notification, or ErrNotFound.
func (s *Store) Notification(ctx context.Context, id string) (Notification, error) {
	notification, err := one(ctx, s.db, scanNotification, selectNotification+`WHERE id = $1`, id)
	return notification, wrap(err, "read notification %s", id)
}

// NotificationsOf returns a job's notifications, oldest first.
func (s *Store) NotificationsOf(ctx context.Context, job tasks.JobKey) ([]Notification, error) {
	list, err := collect(ctx, s.db, scanNotification, selectNotification+`WHERE platform = $1 AND job_id = $2 ORDER BY created_at, id`, job.Platform, job.ID)
	return list, wrap(err, "read notifications of %s", job)
}

// RepeatNotifications inserts new notifications of a job's current status for the given
// destinations or, if there are none, for those that were notified of it before. It skips
// destinations that have a pending one.
func (s *Store) RepeatNotifications(ctx context.Context, job Job, destinations []string, at time.Time) ([]Notification, error) {
	known, err := s.NotificationsOf(ctx, job.Key)
	if err != nil {
		return nil, err
	}
	latest := map[string]Notification{}
	for _, notification := range known { // oldest first
		if notification.Type == job.Status.EventType() {
			latest[notification.Destination] = notification
		}
	}
	if len(destinations) == 0 {
		destinations = slices.Sorted(maps.Keys(latest))
	}
	var list []Notification
	var rows [][]any
	for _, destination := range destinations {
		n, before := latest[destination]
		if before && n.State == NotificationPending {
			continue
		}
		if !before {
			n = Notification{Job: job.Key, Type: job.Status.EventType(), Destination: destination, CreatedAt: job.LastReceivedAt}
		}
		n.ID, n.State, n.Error, n.UpdatedAt, n.SentAt = newNotificationID(), NotificationPending, "", at, time.Time{}
		list = append(list, n)
		rows = append(rows, []any{n.ID, n.Job.Platform, n.Job.ID, n.EventID, n.Type, n.Destination, n.State, s.dialect.time(n.CreatedAt), s.dialect.time(at)})
	}
	_, err = insertRows(ctx, s.db, s.dialect, scanOne[string], insertNotification, rows, `RETURNING id`)
	return list, wrap(err, "repeat notifications of %s", job.Key)
}

const insertNotification = `INSERT INTO notifications (id, platform, job_id, event_id, type, destination, state, created_at, updated_at)`

// newNotificationID returns a random ID.
func newNotificationID() string {
	random := make([]byte, 12)
	_, _ = rand.Read(random) // never fails
	return "ntf_" + hex.EncodeToString(random)
}

// NotificationFailed records why a notification was given up. A sent one stays sent.
func (s *Store) NotificationFailed(ctx context.Context, id, reason string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE notifications SET state = 'failed', error = $2, updated_at = $3 WHERE id = $1 AND state <> 'sent'`,
		id, storable(reason), s.dialect.time(at))
	return wrap(err, "give up notification %s", id)
}

// SetNotificationError records why the last attempt at a pending notification failed.
func (s *Store) SetNotificationError(ctx context.Context, id, reason string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE notifications SET error = $2, updated_at = $3 WHERE id = $1 AND state = 'pending'`,
		id, storable(reason), s.dialect.time(at))
	return wrap(err, "record error of notification %s", id)
}

// ReopenNotification makes a notification that was given up pending again.
func (s *Store) ReopenNotification(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE notifications SET state = 'pending', error = '', updated_at = $2 WHERE id = $1 AND state = 'failed'`,
		id, s.dialect.time(at))
	return wrap(err, "reopen notification %s", id)
}
