package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// sweepEvery is how often the fleet sweeps; one worker does it each time.
	sweepEvery = time.Minute
	// sweepTimeout bounds one sweep.
	sweepTimeout = 10 * time.Minute
	// sweepLease is the Redis key that the worker holds which sweeps next.
	sweepLease = "klinghook:sweep"
)

// runSweeps sweeps at once and then every sweepEvery, until ctx ends.
func (w *Worker) runSweeps(ctx context.Context) {
	var guard sync.WaitGroup
	defer guard.Wait()
	guard.Go(func() { w.guardArchives(ctx) })
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := w.sweepInTurn(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("sweep failed", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweepInTurn sweeps unless another worker has done so within the interval. Two
// that sweep at once do no harm, only the work twice.
func (w *Worker) sweepInTurn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	mine, err := w.cfg.Redis.SetNX(ctx, sweepLease, 1, sweepEvery-time.Second).Result()
	if err != nil {
		return fmt.Errorf("take turn: %w", err)
	}
	if !mine {
		return nil
	}
	return w.Sweep(ctx)
}

// Sweep sets right what no handler can: it puts back tasks that are active without
// a lease, buries tasks that were archived behind the worker's back, ends dead
// letters whose work was done after all, and enqueues whatever the store says is
// owed and no queue has. It may run at any time and more than once.
func (w *Worker) Sweep(ctx context.Context) error {
	// asynq lists a queue once per client and never again: after Redis lost its
	// data, tasks would be run but not be seen; those of a shard that only ingest has
	// been told of would not even be run.
	if err := tasks.ListQueues(ctx, w.cfg.Redis, w.cfg.EventShards); err != nil {
		return err
	}
	queues, err := tasks.KnownQueues(ctx, w.cfg.Redis)
	if err != nil {
		return err
	}
	var errs []error
	for _, queue := range queues {
		n, err := tasks.RequeueOrphans(ctx, w.cfg.Redis, queue)
		if n > 0 {
			w.cfg.Log.Warn("tasks without a lease put back", zap.String("queue", queue), zap.Int("tasks", n))
		}
		errs = append(errs, err)
	}
	errs = append(errs, w.sweepArchives(ctx, queues), w.endDone(ctx), w.countExpiring(ctx))
	n, err := w.enqueueMissing(ctx)
	if n > 0 {
		w.cfg.Log.Info("owed work enqueued again", zap.Int("tasks", n))
	}
	return errors.Join(append(errs, err)...)
}

// countExpiring measures how many links die before their files are stored.
func (w *Worker) countExpiring(ctx context.Context) error {
	n, err := w.cfg.Store.CountExpiringMedia(ctx, w.cfg.LinkLifetime, w.cfg.Now())
	if err != nil {
		return err
	}
	w.metrics.expiring.Set(float64(n))
	return nil
}

// owedBatch is how many owed rows a sweep reads at once.
const owedBatch = 500

// enqueueMissing enqueues what the store says is owed and no queue has, except what
// was given up and waits for a person. Tasks come in batches, to bound memory.
func (w *Worker) enqueueMissing(ctx context.Context) (n int, err error) {
	db := w.cfg.Store
	for _, enqueue := range []func() (int, error){
		func() (int, error) {
			return enqueueBatches(ctx, w, db.OwedEvents(ctx, owedBatch), func(ev store.OwedEvent) (tasks.Task, error) {
				return tasks.RecordEvent(tasks.Event{ID: ev.ID})
			}, w.stillOwesEvent)
		},
		func() (int, error) {
			return enqueueBatches(ctx, w, db.OwedMedia(ctx, owedBatch), taskOfMedia, w.stillOwesMedia)
		},
		func() (int, error) {
			return enqueueBatches(ctx, w, db.OwedNotifications(ctx, owedBatch), taskOfNotification, w.stillOwesNotification)
		},
	} {
		more, err := enqueue()
		if n += more; err != nil {
			return n, err
		}
	}
	return n, nil
}

// enqueueBatches enqueues the tasks of owed rows that no queue has.
func enqueueBatches[T any](
	ctx context.Context, w *Worker, owed iter.Seq2[[]T, error], taskOf func(T) (tasks.Task, error), still func(context.Context, T) (tasks.Task, bool, error),
) (n int, err error) {
	for batch, err := range owed {
		if err != nil {
			return n, err
		}
		rows, list := make(map[string]T, len(batch)), make([]tasks.Task, len(batch))
		for i, row := range batch {
			if list[i], err = taskOf(row); err != nil {
				return n, err
			}
			rows[list[i].ID] = row
		}
		missing, err := tasks.Missing(ctx, w.cfg.Redis, list)
		if err != nil {
			return n, err
		}
		for _, t := range missing {
			// What was done since the store was asked is owed no more.
			task, owes, err := still(ctx, rows[t.ID])
			if err == nil && owes {
				err = w.enqueueAgain(ctx, task)
				n++
			}
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (w *Worker) stillOwesEvent(ctx context.Context, owed store.OwedEvent) (tasks.Task, bool, error) {
	ev, err := w.cfg.Store.Event(ctx, owed.ID)
	if err != nil || !ev.ProcessedAt.IsZero() {
		return tasks.Task{}, false, err
	}
	t, err := tasks.RecordEvent(ev.Event)
	return t, true, err
}

func (w *Worker) stillOwesMedia(ctx context.Context, owed store.Media) (tasks.Task, bool, error) {
	m, err := w.cfg.Store.Medium(ctx, owed.JobID, owed.Name)
	if err != nil || m.State != store.MediaPending {
		return tasks.Task{}, false, err
	}
	t, err := taskOfMedia(m)
	return t, true, err
}

func (w *Worker) stillOwesNotification(ctx context.Context, owed store.Notification) (tasks.Task, bool, error) {
	n, err := w.cfg.Store.Notification(ctx, owed.ID)
	if err != nil || n.State != store.NotificationPending {
		return tasks.Task{}, false, err
	}
	t, err := taskOfNotification(n)
	return t, true, err
}

func taskOfMedia(m store.Media) (tasks.Task, error) {
	return tasks.DownloadMedia(m.JobID, m.Name, m.TaskLink)
}

func taskOfNotification(n store.Notification) (tasks.Task, error) {
	return tasks.SendNotification(n.ID, n.JobID)
}

// enqueueAgain enqueues a task, also if it is remembered as done.
func (w *Worker) enqueueAgain(ctx context.Context, t tasks.Task) error {
	duplicate, err := w.queue.Enqueue(ctx, t)
	if err != nil || !duplicate {
		return err
	}
	if err := tasks.Forget(ctx, w.cfg.Redis, t); err != nil {
		return err
	}
	_, err = w.queue.Enqueue(ctx, t)
	return err
}
