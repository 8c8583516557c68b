package store

import (
	"context"
	"iter"
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

const owedNotifications = `WHERE state = 'pending' AND (created_at, id) > ($1, $2) ORDER BY created_at, id LIMIT $3`

// OwedNotifications yields the pending notifications, oldest first, in batches of at
// most limit.
func (s *Store) OwedNotifications(ctx context.Context, limit int) iter.Seq2[[]Notification, error] {
	return batches(limit, []any{s.dialect.time(longAgo), ""}, func(after []any) ([]Notification, error) {
		list, err := collect(ctx, s.db, scanNotification, selectNotification+owedNotifications, append(after, limit)...)
		return list, wrap(err, "list owed notifications")
	}, func(notification Notification) []any {
		return []any{s.dialect.time(notification.CreatedAt), notification.ID}
	})
}

// NotificationSent notes that a notification was sent.
func (s *Store) NotificationSent(ctx context.Context, id string, at time.Time) error {
	return s.endNotification(ctx, id, NotificationSent, "", at, at)
}

// NotificationFailed notes why a notification was given up. One that was sent stays
// sent.
func (s *Store) NotificationFailed(ctx context.Context, id, reason string, at time.Time) error {
	return s.endNotification(ctx, id, NotificationFailed, reason, at, time.Time{})
}

func (s *Store) endNotification(ctx context.Context, id string, state NotificationState, reason string, at, sentAt time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE notifications SET state = $2, error = $3, updated_at = $4, sent_at = $5 WHERE id = $1 AND state <> 'sent'`,
		id, state, storable(reason), s.dialect.time(at), s.dialect.time(sentAt))
	return wrap(err, "mark notification %s %s", id, state)
}

// NotificationTrouble notes why the last attempt at a pending notification failed.
func (s *Store) NotificationTrouble(ctx context.Context, id, reason string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE notifications SET error = $2, updated_at = $3 WHERE id = $1 AND state = 'pending'`,
		id, storable(reason), s.dialect.time(at))
	return wrap(err, "note trouble of notification %s", id)
}

// ReopenNotification makes a notification that was given up pending again.
func (s *Store) ReopenNotification(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE notifications SET state = 'pending', error = '', updated_at = $2 WHERE id = $1 AND state = 'failed'`,
		id, s.dialect.time(at))
	return wrap(err, "reopen notification %s", id)
}
