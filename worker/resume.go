package worker

import (
	"context"

	"github.com/klinghook/klinghook/tasks"
)

// Resume enqueues everything that the store says is owed: events whose
// consequences are not all queued, media that is not stored, notifications that
// are not sent. What is in the queue already stays as it is. It brings back what a
// queue in memory lost with its process.
func (w *Worker) Resume(ctx context.Context) error {
	events, err := w.cfg.Store.UnprocessedEvents(ctx)
	if err != nil {
		return err
	}
	for _, ev := range events {
		if err := w.enqueue(ctx)(tasks.RecordEvent(ev.Event)); err != nil {
			return err
		}
	}
	media, err := w.cfg.Store.PendingMedia(ctx)
	if err != nil {
		return err
	}
	notifications, err := w.cfg.Store.PendingNotifications(ctx)
	if err != nil {
		return err
	}
	return w.enqueueOwed(ctx, media, notifications)
}
