package worker

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/notify"
)

// sendNotification sends one notification to one destination. After a crash before it is
// marked as sent, it is sent again with the same ID, so that the receiver can drop it.
func (w *Worker) sendNotification(ctx context.Context, payload []byte) error {
	p, err := tasks.DecodeNotifySend(payload)
	if err != nil {
		return err
	}
	notification, err := w.cfg.Store.Notification(ctx, p.NotificationID)
	// A missing row is not a permanent error: a database server may lag behind another one.
	if err != nil || notification.State == store.NotificationSent {
		return err
	}
	// Putting off the last attempt would make asynq give up the task.
	if wait := w.cfg.Notify.Turn(notification.Destination); wait > 0 && !isLast(ctx) {
		return tasks.PutOff(fmt.Errorf("notify %s: its rate limit is reached", notification.Destination), wait)
	}
	message, err := w.message(ctx, notification)
	if err != nil {
		return err
	}
	err = w.traced(ctx, "send message", func(ctx context.Context) error {
		_, err := w.cfg.Notify.Send(ctx, notification.Destination, message)
		return err
	}, attribute.String("klinghook.destination", notification.Destination))
	if err != nil {
		return err
	}
	return w.cfg.Store.NotificationSent(ctx, notification.ID, w.cfg.Now())
}

// notificationTrouble notes why a notification is not sent yet.
func (w *Worker) notificationTrouble(ctx context.Context, payload []byte, reason error) error {
	p, err := tasks.DecodeNotifySend(payload)
	if err != nil {
		return err
	}
	return w.cfg.Store.NotificationTrouble(ctx, p.NotificationID, reason.Error(), w.cfg.Now())
}

// giveUpNotification notes that a notification will not be sent.
func (w *Worker) giveUpNotification(ctx context.Context, payload []byte, reason error) error {
	p, err := tasks.DecodeNotifySend(payload)
	if err != nil {
		return err
	}
	return w.cfg.Store.NotificationFailed(ctx, p.NotificationID, reason.Error(), w.cfg.Now())
}

func aboutNotification(payload []byte) (job tasks.JobKey, eventID string) {
	p, _ := tasks.DecodeNotifySend(payload) // an unreadable payload is about nothing
	return p.Job, ""
}

// message returns the content of a notification, with the job as it is now.
func (w *Worker) message(ctx context.Context, notification store.Notification) (notify.Message, error) {
	message := notify.Message{ID: notification.ID, Type: notification.Type, At: notification.CreatedAt, EventID: notification.EventID}
	if notification.Job.ID == "" {
		return message, nil
	}
	job, err := w.cfg.Store.Job(ctx, notification.Job)
	if errors.Is(err, store.ErrNotFound) {
		// An event of an unknown type may name a job that has no row.
		message.Job = notify.JobDetails{Platform: notification.Job.Platform, ID: notification.Job.ID}
		return message, nil
	}
	if err != nil {
		return message, err
	}
	files, err := w.cfg.Store.MediaOf(ctx, notification.Job)
	if err != nil {
		return message, err
	}
	message.Job = notify.JobDetails{
		Platform: job.Key.Platform, ID: job.Key.ID, Status: job.Status, Prompt: job.Prompt, Model: job.Model, Duration: notify.Seconds(job.Duration),
		Error: job.Error, ExternalID: job.ExternalID, Source: job.Source,
		CreatedAt: job.CreatedAt, FinishedAt: job.FinishedAt, Contradicted: job.Contradicted,
	}
	if job.Progress != nil {
		message.Job.Progress = *job.Progress
	}
	for _, file := range files {
		message.Media = append(message.Media, notify.MediaDetails{
			Name: file.Name, State: string(file.State), Object: file.Object, URL: file.URL,
			Size: file.Size, SHA256: file.SHA256, ContentType: file.ContentType,
		})
	}
	return message, nil
}
