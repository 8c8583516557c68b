package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/join"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// recordEvent stores an event, updates its job, and enqueues downloads and
// notifications. Their IDs are deterministic, so a second run enqueues nothing twice.
// The event is processed once all are queued.
func (w *Worker) recordEvent(ctx context.Context, payload []byte) error {
	event, err := tasks.DecodeEvent(payload)
	if err != nil {
		return err
	}
	return w.record(ctx, event, nil)
}

// record records an event. If the event is Kling's answer with a fresh link, dead is the
// file with the link that it replaces.
func (w *Worker) record(ctx context.Context, event tasks.Event, dead *store.Media) error {
	src, ok := w.cfg.Sources[event.Source]
	if !ok {
		return fmt.Errorf("record event %s: this worker does not know the protocol %q; is it older than the ingest that received it?", event.ID, event.Source)
	}
	update, err := src.Update(event)
	if err != nil {
		return w.keepUnread(ctx, event, err)
	}
	update = w.withWantedMedia(update)
	if event.Type == source.TypeUnreadable {
		if event, err = w.identifyAgain(ctx, event, src); err != nil {
			return err
		}
	}
	if dead != nil && update != nil {
		for i := range update.Media {
			if update.Media[i].Name == dead.Name {
				update.Media[i].Renews = dead.URL
			}
		}
	}
	destinations, err := w.destinations(ctx, event, update)
	if err != nil {
		return err
	}
	var owed store.Owed
	err = w.traced(ctx, "store event", func(ctx context.Context) (err error) {
		owed, err = w.records.Do(ctx, store.Recording{Event: event, Update: update, Destinations: destinations})
		if err == nil && owed.Erased {
			err = fmt.Errorf("record event %s: %w", event.ID, tasks.ErrErased)
		}
		return err
	})
	if err != nil {
		return err
	}
	w.metrics.charge(owed.Model, owed.Charged)
	if update != nil {
		if owed.TestCallback && !w.mayAsk(update.Job) {
			w.cfg.Log.Info("probable test callback received", zap.Stringer("job_id", update.Job))
		}
		if err := w.noMedia(ctx, update.Job, owed); err != nil {
			return err
		}
	}
	if !owed.Processed && !owed.Settled {
		if err := w.enqueueOwed(ctx, owed.Media, owed.Notifications); err != nil {
			return err
		}
		if _, err := w.processed.Do(ctx, event.ID); err != nil {
			return err
		}
	}
	if owed.Processed { // either asynq ran the task again, or its first one is forgotten
		if err := tasks.NoteRepeat(ctx, w.cfg.Redis, event.ID, event.ReceivedAt); err != nil {
			w.cfg.Log.Debug("repeated delivery not noted", zap.String("event_id", event.ID), zap.Error(err))
		}
	} else {
		w.metrics.latency.WithLabelValues(event.Source).Observe(w.cfg.Now().Sub(event.ReceivedAt).Seconds())
	}
	if !owed.Buried {
		return nil
	}
	task, err := tasks.RecordEvent(event)
	if err != nil {
		return err
	}
	return w.cfg.Store.EndDeadLetterOf(ctx, task.ID, w.cfg.Now())
}

// withWantedMedia returns the update without links to files of kinds that are not stored.
func (w *Worker) withWantedMedia(update *tasks.JobUpdate) *tasks.JobUpdate {
	if update == nil {
		return nil
	}
	wanted := *update
	wanted.Media = nil
	for _, link := range update.Media {
		if slices.Contains(w.cfg.MediaKinds, tasks.KindOfMedia(link.Name)) {
			wanted.Media = append(wanted.Media, link)
		}
	}
	return &wanted
}

// joinEvents lets concurrent events share the transaction that records them, and the one
// that marks them as processed.
func (w *Worker) joinEvents() {
	db := w.cfg.Store
	w.records = join.New(join.Config[store.Recording, store.Owed]{Parallel: db.Writers(),
		Do: func(ctx context.Context, list []store.Recording) ([]store.Owed, error) {
			return db.Record(ctx, list, w.cfg.Now())
		}})
	w.processed = join.New(join.Config[string, struct{}]{Parallel: db.Writers(),
		Do: func(ctx context.Context, ids []string) ([]struct{}, error) {
			return make([]struct{}, len(ids)), db.MarkProcessed(ctx, ids, w.cfg.Now())
		}})
}

// keepUnread stores an event that its protocol cannot read, and gives up the task: a
// newer klinghook can replay it.
func (w *Worker) keepUnread(ctx context.Context, event tasks.Event, reason error) error {
	if _, err := w.cfg.Store.KeepEvent(ctx, event); err != nil {
		return err
	}
	return tasks.Permanent(fmt.Errorf("read event %s: %w", event.ID, reason))
}

// identifyAgain adds type and job to an event that an earlier version kept without them.
func (w *Worker) identifyAgain(ctx context.Context, event tasks.Event, src source.Source) (tasks.Event, error) {
	identity, err := src.Identify(headersOf(event), event.Body)
	if err != nil {
		return event, err
	}
	event.Type, event.Job.ID = identity.Type, identity.JobID
	return event, w.cfg.Store.NameEvent(ctx, event)
}

// headersOf returns the request headers that were kept with an event.
func headersOf(event tasks.Event) http.Header {
	header := http.Header{}
	for name, value := range event.Headers {
		header.Set(name, value)
	}
	return header
}

func aboutEvent(payload []byte) (job tasks.JobKey, eventID string) {
	event, _ := tasks.DecodeEvent(payload) // an unreadable payload names no job
	return event.Job, event.ID
}

// destinations returns the destinations of an event's notifications. A possible test
// callback has none, unless other events know its job.
func (w *Worker) destinations(ctx context.Context, event tasks.Event, update *tasks.JobUpdate) ([]string, error) {
	if event.Type == tasks.TypeTest {
		return nil, nil
	}
	names := w.cfg.Notify.NamesFor(event.Type)
	if len(names) > 0 && update != nil && update.MaybeTest {
		job, err := w.cfg.Store.Job(ctx, event.Job)
		if errors.Is(err, store.ErrNotFound) || err == nil && job.TestCallback {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// enqueueOwed enqueues downloads and notifications, concurrently: together they take
// one round trip.
func (w *Worker) enqueueOwed(ctx context.Context, media []store.Media, notifications []store.Notification) error {
	var errs []error
	var owed []tasks.Task
	add := func(task tasks.Task, err error) { owed, errs = append(owed, task), append(errs, err) }
	for _, file := range media {
		add(mediaTask(file))
	}
	for _, notification := range notifications {
		add(notificationTask(notification))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return inParallel(ctx, owed, func(ctx context.Context, task tasks.Task) error {
		_, err := w.queue.Enqueue(ctx, task)
		return err
	})
}

// enqueue returns a function that enqueues the result of a task constructor.
func (w *Worker) enqueue(ctx context.Context) func(tasks.Task, error) error {
	return func(task tasks.Task, err error) error {
		if err != nil {
			return err
		}
		_, err = w.queue.Enqueue(ctx, task)
		return err
	}
}
