package worker

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// owedBatch is how many owed rows a sweep has in memory at a time.
	owedBatch = 500
	// parallel is how many items inParallel handles at once: calls that run at the same
	// time share a round trip to Redis.
	parallel = 8
)

// inParallel calls f for each item and returns the first error. After an error it skips
// the remaining items.
func inParallel[T any](ctx context.Context, items []T, f func(context.Context, T) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var group sync.WaitGroup
	places := make(chan struct{}, parallel)
	for _, item := range items {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			if ctx.Err() != nil {
				return
			}
			if err := f(ctx, item); err != nil {
				fail(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// enqueueOwedWork enqueues owed work that no queue has. Work that was given up waits for
// a person.
func (w *Worker) enqueueOwedWork(ctx context.Context) error {
	db := w.cfg.Store
	n := new(atomic.Int64)
	err := errors.Join(
		enqueueMissing(ctx, w, n, db.OwedEvents(ctx, owedBatch), func(event store.OwedEvent) (tasks.Task, error) {
			return tasks.RecordEvent(tasks.Event{ID: event.ID})
		}, func(ctx context.Context, owed store.OwedEvent) (tasks.Task, bool, error) {
			event, err := db.Event(ctx, owed.ID)
			if err != nil || !event.ProcessedAt.IsZero() {
				return tasks.Task{}, false, err
			}
			task, err := tasks.RecordEvent(event.Event)
			return task, true, err
		}),
		enqueueMissing(ctx, w, n, db.OwedMedia(ctx, owedBatch), mediaTask, func(ctx context.Context, owed store.Media) (tasks.Task, bool, error) {
			file, err := db.Medium(ctx, owed.Job, owed.Name)
			if err != nil || file.State != store.MediaPending {
				return tasks.Task{}, false, err
			}
			task, err := mediaTask(file)
			return task, true, err
		}),
		w.enqueueNotifications(ctx, n, db.OwedNotifications(ctx, w.cfg.Now(), owedBatch)),
		w.enqueueNotifications(ctx, n, w.dueProbes(ctx)),
	)
	if n.Load() > 0 {
		w.cfg.Log.Info("missing tasks enqueued", zap.Int64("tasks", n.Load()))
	}
	return err
}

// dueProbes yields the notifications that try paused destinations.
func (w *Worker) dueProbes(ctx context.Context) iter.Seq2[[]store.Notification, error] {
	return func(yield func([]store.Notification, error) bool) { yield(w.cfg.Store.DueProbes(ctx, w.cfg.Now())) }
}

func (w *Worker) enqueueNotifications(ctx context.Context, n *atomic.Int64, owed iter.Seq2[[]store.Notification, error]) error {
	return enqueueMissing(ctx, w, n, owed, notificationTask, func(ctx context.Context, owed store.Notification) (tasks.Task, bool, error) {
		now, err := w.cfg.Store.Notification(ctx, owed.ID)
		if err != nil || now.State != store.NotificationPending {
			return tasks.Task{}, false, err
		}
		task, err := notificationTask(now)
		return task, true, err
	})
}

func mediaTask(file store.Media) (tasks.Task, error) {
	return tasks.DownloadMedia(file.Job, file.Name, file.TaskLink)
}

func notificationTask(notification store.Notification) (tasks.Task, error) {
	return tasks.SendNotification(notification.ID, notification.Job)
}

// enqueueMissing enqueues the tasks of owed rows that no queue has, and counts them in
// n. reread returns the task of a row as it is now, unless its work was done meanwhile.
func enqueueMissing[T any](
	ctx context.Context, w *Worker, n *atomic.Int64, owed iter.Seq2[[]T, error],
	task func(T) (tasks.Task, error), reread func(context.Context, T) (tasks.Task, bool, error),
) error {
	for batch, err := range owed {
		if err != nil {
			return err
		}
		err = inParallel(ctx, batch, func(ctx context.Context, row T) error {
			t, err := task(row)
			if err != nil {
				return err
			}
			missing, err := w.isMissing(ctx, t)
			if err != nil || !missing {
				return err
			}
			t, still, err := reread(ctx, row)
			if err != nil || !still {
				return err
			}
			enqueued, err := w.queue.enqueueAgain(ctx, t)
			if enqueued {
				n.Add(1)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// isMissing reports whether no queue will run the task of an owed row. A task remembered
// as completed is missing too: the database has lost its effect, or was restored from a
// backup.
func (w *Worker) isMissing(ctx context.Context, task tasks.Task) (bool, error) {
	info, err := w.queue.find(task)
	if err != nil || info == nil {
		return err == nil, err
	}
	for info.State == asynq.TaskStateArchived {
		task = task.NextGeneration() // a replay may have needed another ID
		next, err := w.queue.find(task)
		if err != nil {
			return false, err
		}
		if next == nil { // asynq has dropped it from the list that sweepArchive reads
			return false, w.buryAll(ctx, []*asynq.TaskInfo{info})
		}
		info = next
	}
	return info.State == asynq.TaskStateCompleted, nil
}
