package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// sweepEvery is how often the fleet sweeps; one worker does it each time.
	sweepEvery = time.Minute
	// sweepTimeout bounds one sweep.
	sweepTimeout = 10 * time.Minute
	// sweepLease is the Redis key that the worker holds which sweeps next.
	sweepLease = "klinghook:sweep"
	// archiveKept is how many archived tasks of a queue stay to be seen in the
	// queue pages. asynq itself drops them beyond 10,000.
	archiveKept = 1000
	// archivePage is how many archived tasks are read at a time.
	archivePage = 500
)

// runSweeps sweeps at once and then every sweepEvery, until ctx ends.
func (w *Worker) runSweeps(ctx context.Context) {
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

// Sweep sets right what no handler can: it buries tasks that were archived behind
// the worker's back, puts back tasks that are active without a lease, and enqueues
// whatever the store says is owed and no queue has. It may run at any time and
// more than once.
func (w *Worker) Sweep(ctx context.Context) error {
	// asynq lists a queue once per client and never again: after Redis lost its
	// data, tasks would be run but not be seen.
	if err := tasks.ListQueues(ctx, w.cfg.Redis); err != nil {
		return err
	}
	var errs []error
	for _, queue := range tasks.Queues() {
		n, err := tasks.RequeueOrphans(ctx, w.cfg.Redis, queue)
		if n > 0 {
			w.cfg.Log.Warn("tasks without a lease put back", zap.String("queue", queue), zap.Int("tasks", n))
		}
		errs = append(errs, err, w.buryArchived(ctx, queue))
	}
	n, err := w.enqueueMissing(ctx)
	if n > 0 {
		w.cfg.Log.Info("owed work enqueued again", zap.Int("tasks", n))
	}
	return errors.Join(append(errs, err)...)
}

// buryArchived keeps every archived task of a queue as a dead letter, whoever
// archived it, and drops the oldest beyond archiveKept from the archive.
func (w *Worker) buryArchived(ctx context.Context, queue string) error {
	info, err := w.inspector.GetQueueInfo(queue)
	if err != nil {
		return fmt.Errorf("look at %s: %w", queue, err)
	}
	// The newest come first. From the last page on, so that what is dropped does
	// not move what is still to be read.
	for page := (info.Archived + archivePage - 1) / archivePage; page >= 1; page-- {
		archived, err := w.inspector.ListArchivedTasks(queue, asynq.PageSize(archivePage), asynq.Page(page))
		if err != nil {
			return fmt.Errorf("list archived tasks of %s: %w", queue, err)
		}
		if err := w.buryAll(ctx, archived); err != nil {
			return err
		}
		if page*archivePage <= archiveKept {
			continue
		}
		for _, t := range archived {
			if err := w.inspector.DeleteTask(queue, t.ID); err != nil && !errors.Is(err, asynq.ErrTaskNotFound) {
				return fmt.Errorf("drop archived task %s: %w", t.ID, err)
			}
		}
	}
	return nil
}

// buryAll buries those of the tasks that have no dead letter yet.
func (w *Worker) buryAll(ctx context.Context, archived []*asynq.TaskInfo) error {
	ids := make([]string, len(archived))
	for i, t := range archived {
		ids[i] = t.ID
	}
	buried, err := w.cfg.Store.Buried(ctx, ids)
	if err != nil {
		return err
	}
	for _, t := range archived {
		if buried[t.ID] {
			continue
		}
		reason, at := t.LastErr, t.LastFailedAt
		if reason == "" {
			reason = "archived by an operator"
		}
		if at.IsZero() {
			at = w.cfg.Now()
		}
		task := tasks.Task{Kind: tasks.Kind(t.Type), ID: t.ID, Payload: t.Payload}
		if err := w.bury(ctx, task, store.Failure{Attempt: t.Retried + 1, At: at, Error: reason}, errors.New(reason)); err != nil {
			return err
		}
	}
	return nil
}

// enqueueMissing enqueues what is owed and in no queue.
func (w *Worker) enqueueMissing(ctx context.Context) (n int, err error) {
	owed, err := w.owed(ctx)
	if err != nil {
		return 0, err
	}
	missing, err := tasks.Missing(ctx, w.cfg.Redis, owed)
	if err != nil {
		return 0, err
	}
	for _, t := range missing {
		if _, err := w.queue.Enqueue(ctx, t); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// owed returns the tasks of everything that the store says is still to be done,
// but for what has been given up and waits for a person.
func (w *Worker) owed(ctx context.Context) ([]tasks.Task, error) {
	var list []tasks.Task
	add := func(t tasks.Task, err error) error {
		list = append(list, t)
		return err
	}
	events, err := w.cfg.Store.UnprocessedEvents(ctx)
	if err != nil {
		return nil, err
	}
	for _, ev := range events {
		if err := add(tasks.RecordEvent(ev.Event)); err != nil {
			return nil, err
		}
	}
	media, err := w.cfg.Store.PendingMedia(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range media {
		if err := add(tasks.DownloadMedia(m.JobID, m.Name, m.URL)); err != nil {
			return nil, err
		}
	}
	notifications, err := w.cfg.Store.PendingNotifications(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range notifications {
		if err := add(tasks.SendNotification(n.ID, n.JobID)); err != nil {
			return nil, err
		}
	}
	return list, nil
}
