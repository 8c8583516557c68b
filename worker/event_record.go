package worker

import (
	"context"
	"fmt"
	"slices"

	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// recordEvent keeps an event, moves its job forward, and enqueues what follows:
// downloads and notifications. Their ids are deterministic, so that a second run
// enqueues nothing twice; the event counts as processed only when all are queued.
func (w *Worker) recordEvent(ctx context.Context, payload []byte) error {
	ev, err := tasks.DecodeEvent(payload)
	if err != nil {
		return err
	}
	return w.record(ctx, ev, nil)
}

// record is recordEvent. Of a file whose link is dead, if there is one, the event has
// the fresh link.
func (w *Worker) record(ctx context.Context, ev tasks.Event, dead *store.Media) error {
	src, ok := w.cfg.Sources[ev.Source]
	if !ok {
		return fmt.Errorf("record event %s: this worker does not know the protocol %q; is it older than the ingest that received it?", ev.ID, ev.Source)
	}
	update, err := src.Update(ev)
	if err != nil {
		return w.keepUnread(ctx, ev, err)
	}
	if dead != nil && update != nil {
		for i := range update.Media {
			if update.Media[i].Name == dead.Name {
				update.Media[i].Renews = dead.URL
			}
		}
	}
	var owed store.Owed
	err = w.traced(ctx, "store event", func(ctx context.Context) (err error) {
		owed, err = w.records.call(ctx, store.Recording{Event: ev, Update: update, Destinations: w.destinations(ev)})
		return err
	})
	if err != nil {
		return err
	}
	if !owed.Processed && !owed.Settled {
		if err := w.enqueueOwed(ctx, owed.Media, owed.Notifications); err != nil {
			return err
		}
		if _, err := w.marks.call(ctx, ev.ID); err != nil {
			return err
		}
	}
	if !owed.Processed {
		w.metrics.latency.WithLabelValues(ev.Source).Observe(w.cfg.Now().Sub(ev.ReceivedAt).Seconds())
	}
	if !owed.Buried {
		return nil
	}
	id, _ := asynq.GetTaskID(ctx)
	return w.cfg.Store.EndDeadLetterOf(ctx, id, w.cfg.Now())
}

// leastEvents is most of what one transaction takes: two side by side cost the database
// more than one of twice the size, and are for where one is small or takes long.
const leastEvents = maxJoined * 3 / 4

// joinEvents makes what has events that are worked on at the same time share a
// transaction, in which they are kept, and another, in which they are marked as
// processed.
func (w *Worker) joinEvents() {
	db := w.cfg.Store
	w.records = &joiner[store.Recording, store.Owed]{
		flushers: db.Writers(), least: leastEvents,
		key: func(r store.Recording) string { return r.Event.ID },
		do: func(ctx context.Context, list []store.Recording) ([]store.Owed, error) {
			return db.Record(ctx, list, w.cfg.Now())
		},
		alone: func(ctx context.Context, r store.Recording) (store.Owed, error) {
			owed, err := db.Record(ctx, []store.Recording{r}, w.cfg.Now())
			if err != nil {
				return store.Owed{}, err
			}
			return owed[0], nil
		},
	}
	w.marks = &joiner[string, struct{}]{
		flushers: db.Writers(), least: leastEvents,
		key: func(id string) string { return id },
		do: func(ctx context.Context, ids []string) ([]struct{}, error) {
			return make([]struct{}, len(ids)), db.MarkProcessed(ctx, ids, w.cfg.Now())
		},
		alone: func(ctx context.Context, id string) (struct{}, error) {
			return struct{}{}, db.MarkProcessed(ctx, []string{id}, w.cfg.Now())
		},
	}
}

// keepUnread keeps an event that its protocol cannot make sense of, and gives the
// task up: it can be replayed by a klinghook that can.
func (w *Worker) keepUnread(ctx context.Context, ev tasks.Event, reason error) error {
	if err := w.cfg.Store.KeepEvent(ctx, ev); err != nil {
		return err
	}
	return tasks.Permanent(fmt.Errorf("read event %s: %w", ev.ID, reason))
}

func aboutEvent(payload []byte) (jobID, eventID string) {
	ev, _ := tasks.DecodeEvent(payload) // what cannot be read is about nothing
	return ev.JobID, ev.ID
}

// destinations returns who is told of an event.
func (w *Worker) destinations(ev tasks.Event) []string {
	if !slices.Contains(w.cfg.NotifyTypes, ev.Type) {
		return nil
	}
	return w.cfg.Notify.Names()
}

// enqueueOwed enqueues the downloads and the sendings that are owed, at the same time:
// together they take one round trip.
func (w *Worker) enqueueOwed(ctx context.Context, media []store.Media, notifications []store.Notification) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8) // a job may have a hundred files, and the connections are everybody's
	for _, m := range media {
		group.Go(func() error { return w.enqueue(ctx)(tasks.DownloadMedia(m.JobID, m.Name, m.TaskLink)) })
	}
	for _, n := range notifications {
		group.Go(func() error { return w.enqueue(ctx)(tasks.SendNotification(n.ID, n.JobID)) })
	}
	return group.Wait()
}

// enqueue takes what a task constructor returns and enqueues it.
func (w *Worker) enqueue(ctx context.Context) func(tasks.Task, error) error {
	return func(t tasks.Task, err error) error {
		if err != nil {
			return err
		}
		_, err = w.queue.Enqueue(ctx, t)
		return err
	}
}
