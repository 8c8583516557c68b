package worker

import (
	"context"
	"errors"
	"fmt"
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
	soon := w.cfg.Now().Add(store.ExpiringSoon(w.cfg.LinkLifetime))
	expiring, err := w.cfg.Store.ExpiringMedia(ctx, w.cfg.LinkLifetime, soon)
	if err != nil {
		return err
	}
	w.metrics.expiring.Set(float64(len(expiring)))
	return nil
}

// enqueueMissing enqueues what is owed and in no queue.
func (w *Worker) enqueueMissing(ctx context.Context) (n int, err error) {
	owed, err := w.owed(ctx)
	if err != nil {
		return 0, err
	}
	missing, err := tasks.Missing(ctx, w.cfg.Redis, owed)
	if err != nil || len(missing) == 0 {
		return 0, err
	}
	// What was done since the store was asked is remembered as done, and owed no more: it
	// stays remembered.
	if owed, err = w.owed(ctx); err != nil {
		return 0, err
	}
	still := make(map[string]bool, len(owed))
	for _, t := range owed {
		still[t.ID] = true
	}
	for _, t := range missing {
		if !still[t.ID] {
			continue
		}
		if err := w.enqueueAgain(ctx, t); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
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
		if err := add(tasks.DownloadMedia(m.JobID, m.Name, m.TaskLink)); err != nil {
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
