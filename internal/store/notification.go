package store

import (
	"context"
	"fmt"
	"time"
)

// NotificationState is how far a notification is.
type NotificationState string

// The states of a notification.
const (
	NotificationPending NotificationState = "pending"
	NotificationSent    NotificationState = "sent"
	NotificationFailed  NotificationState = "failed"
)

// Notification is one thing that one destination is told. It is written in the
// transaction that makes it true, and sent afterwards.
type Notification struct {
	// ID is the same however often and in whatever order the events arrive.
	ID    string
	JobID string
	// EventID is the event that it tells of; empty when it tells that a job was
	// created or ended, which several events may say.
	EventID     string
	Type        string
	Destination string
	State       NotificationState
	// Error is why the last attempt failed; empty once it is sent.
	Error                        string
	CreatedAt, UpdatedAt, SentAt time.Time
}

const (
	notificationColumns = `id, job_id, event_id, type, destination, state, error, created_at, updated_at, sent_at`
	selectNotification  = `SELECT ` + notificationColumns + ` FROM notifications `
)

func scanNotification(row scanner) (Notification, error) {
	var n Notification
	err := row.Scan(&n.ID, &n.JobID, &n.EventID, &n.Type, &n.Destination, &n.State, &n.Error,
		instant{&n.CreatedAt}, instant{&n.UpdatedAt}, instant{&n.SentAt})
	return n, notFound(err)
}

// Notification returns a notification, or ErrNotFound.
func (s *Store) Notification(ctx context.Context, id string) (Notification, error) {
	n, err := scanNotification(s.db.QueryRowContext(ctx, selectNotification+`WHERE id = $1`, id))
	if err != nil {
		return Notification{}, fmt.Errorf("read notification %s: %w", id, err)
	}
	return n, nil
}

// NotificationsOf returns what was and is to be told of a job, oldest first.
func (s *Store) NotificationsOf(ctx context.Context, jobID string) ([]Notification, error) {
	list, err := collect(ctx, s.db, scanNotification, selectNotification+`WHERE job_id = $1 ORDER BY created_at, id`, jobID)
	if err != nil {
		return nil, fmt.Errorf("read notifications of %s: %w", jobID, err)
	}
	return list, nil
}

// PendingNotifications returns all notifications that are owed, the oldest first.
func (s *Store) PendingNotifications(ctx context.Context) ([]Notification, error) {
	list, err := collect(ctx, s.db, scanNotification, selectNotification+`WHERE state = 'pending' ORDER BY created_at`)
	if err != nil {
		return nil, fmt.Errorf("list pending notifications: %w", err)
	}
	return list, nil
}

// NotificationSent notes that a destination took the notification.
func (s *Store) NotificationSent(ctx context.Context, id string, at time.Time) error {
	return s.endNotification(ctx, id, NotificationSent, "", at)
}

// NotificationFailed notes that a notification was given up, and why. One that
// was sent stays so.
func (s *Store) NotificationFailed(ctx context.Context, id, reason string, at time.Time) error {
	return s.endNotification(ctx, id, NotificationFailed, reason, at)
}

func (s *Store) endNotification(ctx context.Context, id string, state NotificationState, reason string, at time.Time) error {
	var sentAt time.Time
	if state == NotificationSent {
		sentAt = at
	}
	_, err := s.db.ExecContext(ctx, `
		UPDATE notifications SET state = $2, error = $3, updated_at = $4, sent_at = $5 WHERE id = $1 AND state <> 'sent'`,
		id, state, storable(reason), s.dialect.time(at), s.dialect.time(sentAt))
	if err != nil {
		return fmt.Errorf("mark notification %s %s: %w", id, state, err)
	}
	return nil
}

// NotificationTrouble notes why the last attempt failed, for people to see while
// the next one is awaited.
func (s *Store) NotificationTrouble(ctx context.Context, id, reason string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE notifications SET error = $2, updated_at = $3 WHERE id = $1 AND state = 'pending'`,
		id, storable(reason), s.dialect.time(at))
	if err != nil {
		return fmt.Errorf("note trouble of notification %s: %w", id, err)
	}
	return nil
}

// ReopenNotification makes a notification that was given up owed again.
func (s *Store) ReopenNotification(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE notifications SET state = 'pending', error = '', updated_at = $2 WHERE id = $1 AND state = 'failed'`,
		id, s.dialect.time(at))
	if err != nil {
		return fmt.Errorf("reopen notification %s: %w", id, err)
	}
	return nil
}
