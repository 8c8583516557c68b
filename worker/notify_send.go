package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/join"
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
	gate := store.GateOpen
	if w.cfg.Notify.Has(notification.Destination) { // else Send says so
		if gate, err = w.cfg.Store.GateOf(ctx, notification.Destination, w.cfg.Now()); err != nil {
			return err
		}
	}
	switch gate {
	case store.GateClosed:
		return w.hold(ctx, notification, fmt.Errorf("notify %s: the destination is paused", notification.Destination))
	case store.GateOpen:
		// Putting off the last attempt would make asynq give up the task.
		if wait := w.cfg.Notify.Turn(notification.Destination); wait > 0 && !isLast(ctx) {
			return tasks.PutOff(fmt.Errorf("notify %s: its rate limit is reached", notification.Destination), wait)
		}
	}
	message, err := w.message(ctx, notification)
	if err != nil {
		return err
	}
	return w.send(ctx, notification, message)
}

// send sends a message and notes the attempt.
func (w *Worker) send(ctx context.Context, notification store.Notification, message notify.Message) error {
	attempt := store.SendAttempt{NotificationID: notification.ID, Destination: notification.Destination, At: w.cfg.Now()}
	err := w.traced(ctx, "send message", func(ctx context.Context) error {
		answer, err := w.cfg.Notify.Send(ctx, notification.Destination, message)
		attempt.Status, attempt.Answer = answer.Status, answer.Body
		return err
	}, attribute.String("klinghook.destination", notification.Destination))
	if err != nil && (errors.Is(context.Cause(ctx), errInterrupted) || !w.cfg.Notify.Has(notification.Destination)) {
		return err // says nothing about the destination
	}
	attempt.Duration = w.cfg.Now().Sub(attempt.At)
	if err != nil {
		attempt.Error = err.Error()
	}
	effect, noteErr := w.attempts.Do(ctx, attempt)
	switch {
	case effect.Paused:
		w.cfg.Log.Error("destination paused: every attempt has failed for a day; see klinghook destinations show",
			zap.String("destination", notification.Destination), zap.Time("failing_since", effect.FailingSince), zap.Error(err))
	case effect.Resumed:
		w.cfg.Log.Info("destination resumed: it works again", zap.String("destination", notification.Destination))
	}
	switch {
	case err == nil:
		return noteErr
	case noteErr != nil:
		w.cfg.Log.Debug("attempt at a destination not written to the database", zap.String("destination", notification.Destination), zap.Error(noteErr))
	case effect.Held:
		return w.hold(ctx, notification, err)
	}
	return err
}

// errHeld means that a task waits for its paused destination. The task ends, which costs
// no attempt; a sweep enqueues it again.
var errHeld = errors.New("held")

// hold leaves a notification pending.
func (w *Worker) hold(ctx context.Context, notification store.Notification, reason error) error {
	if notification.State == store.NotificationFailed { // an operator ran its archived task
		if err := w.cfg.Store.ReopenNotification(ctx, notification.ID, w.cfg.Now()); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %w", errHeld, reason)
}

// joinAttempts lets concurrent attempts share the transaction that notes them.
func (w *Worker) joinAttempts() {
	w.attempts = join.New(join.Config[store.SendAttempt, store.Effect]{Parallel: w.cfg.Store.Writers(), Do: w.cfg.Store.RecordAttempts})
}

// noteDestinations notes which destinations this worker has.
func (w *Worker) noteDestinations(ctx context.Context) {
	err := w.cfg.Store.ConfigureDestinations(ctx, w.cfg.Notify.Names(), w.cfg.Now())
	if err != nil && ctx.Err() == nil {
		w.cfg.Log.Warn("destinations not written to the database", zap.Error(err))
	}
}

// noteNotificationFailure notes why a notification is not sent yet.
func (w *Worker) noteNotificationFailure(ctx context.Context, payload []byte, reason error) error {
	p, err := tasks.DecodeNotifySend(payload)
	if err != nil {
		return err
	}
	return w.cfg.Store.SetNotificationError(ctx, p.NotificationID, reason.Error(), w.cfg.Now())
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
		Costs: job.Costs, NoMedia: job.NoMedia != "", NoMediaReason: job.NoMedia,
		Tags: job.Tags, ExpectedCost: job.ExpectedCost, Metadata: job.Metadata,
	}
	if job.Progress != nil {
		message.Job.Progress = *job.Progress
	}
	for _, file := range files {
		shown := notify.MediaDetails{
			Name: file.Name, State: string(file.State), Object: file.Object, URL: file.URL,
			Size: file.Size, SHA256: file.SHA256, ContentType: file.ContentType,
		}
		shown.DownloadURL, shown.DownloadURLExpiresAt = w.downloadLink(ctx, file)
		message.Media = append(message.Media, shown)
	}
	return message, nil
}

// downloadLink returns a signed link to a stored file and when it expires, if there is
// one. A message without it is better than none.
func (w *Worker) downloadLink(ctx context.Context, file store.Media) (string, time.Time) {
	if w.cfg.StoredLinkLifetime <= 0 || file.StoredAt.IsZero() {
		return "", time.Time{}
	}
	expires := w.cfg.Now().Add(w.cfg.StoredLinkLifetime).UTC().Truncate(time.Second)
	link, err := w.cfg.Bucket.SignedURL(ctx, file.Object, w.cfg.StoredLinkLifetime)
	if err != nil {
		w.warnUnsigned.Do(func() { w.cfg.Log.Warn("messages have no links to stored files", zap.Error(err)) })
	}
	if link == "" {
		return "", time.Time{}
	}
	return link, expires
}
