package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// sweepEvery is how often one worker of the fleet sweeps.
	sweepEvery = time.Minute
	// sweepTimeout bounds one sweep.
	sweepTimeout = 10 * time.Minute
	// sweepLease is the Redis key of the worker that sweeps.
	sweepLease = "klinghook:sweep"
	// orphanAfter is how long an orphaned task must be active without a server. Servers
	// report their tasks every 5 s.
	orphanAfter = 30 * time.Second
)

// runSweeps sweeps at once and then every sweepEvery, until ctx ends.
func (w *Worker) runSweeps(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		w.noteDestinations(ctx)
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

// sweepInTurn sweeps unless another worker has done so within the interval.
func (w *Worker) sweepInTurn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	mine, err := w.cfg.Redis.SetNX(ctx, sweepLease, 1, sweepEvery-time.Second).Result()
	if err != nil {
		return fmt.Errorf("acquire sweep lease: %w", err)
	}
	if !mine {
		return nil
	}
	return w.Sweep(ctx)
}

// Sweep continues deletions of jobs, buries tasks that were archived without a dead letter,
// closes dead letters of work that was done later, runs orphaned tasks again, and enqueues
// owed work that no queue has. It may run more than once, or in two workers at once.
func (w *Worker) Sweep(ctx context.Context) error {
	w.sweeping.Lock()
	defer w.sweeping.Unlock()
	queues, err := w.queue.names()
	if err != nil {
		return err
	}
	eraser := &Eraser{Redis: w.cfg.Redis, Store: w.cfg.Store, Bucket: w.cfg.Bucket, EventShards: w.cfg.EventShards, Now: w.cfg.Now}
	errs := []error{eraser.Continue(ctx), w.warnOfOtherShards(), w.sweepOrphans(ctx, queues)}
	for _, queue := range queues {
		errs = append(errs, w.sweepArchive(ctx, queue))
	}
	errs = append(errs, w.endDone(ctx), w.reportWork(ctx))
	return errors.Join(append(errs, w.enqueueOwedWork(ctx))...)
}

// warnOfOtherShards warns about events in shards beyond the settings: no worker runs them.
func (w *Worker) warnOfOtherShards() error {
	known, err := w.queue.inspector.Queues()
	if err != nil {
		return fmt.Errorf("list queues: %w", err)
	}
	for _, name := range known {
		if tasks.BaseQueue(name) != tasks.QueueEvents || slices.Contains(tasks.EventQueues(w.cfg.EventShards), name) {
			continue
		}
		info, err := w.queue.inspector.GetQueueInfo(name)
		if err != nil {
			return fmt.Errorf("count tasks of %s: %w", name, err)
		}
		if n := info.Pending + info.Active + info.Scheduled + info.Retry; n > 0 {
			w.cfg.Log.Warn("a shard of events has tasks, but this worker does not run it; set KLINGHOOK_EVENT_SHARDS to the same number in every process",
				zap.String("queue", name), zap.Int("tasks", n), zap.Int("event_shards", w.cfg.EventShards))
		}
	}
	return nil
}

// sweepOrphans enqueues again, under another ID, tasks that stay active although no
// server runs them. asynq has lost their leases (asynq issues 1051 and 1144) and will
// neither run nor release them. sweepOrphans skips tasks with an expired lease, because
// asynq retries those.
func (w *Worker) sweepOrphans(ctx context.Context, queues []string) error {
	servers, err := w.queue.inspector.Servers()
	if err != nil {
		return fmt.Errorf("list servers: %w", err)
	}
	running := make(map[string]bool)
	for _, server := range servers {
		for _, active := range server.ActiveWorkers {
			running[active.Queue+" "+active.TaskID] = true
		}
	}
	seen := make(map[string]time.Time)
	for _, queue := range queues {
		orphans, err := listTasks(ctx, queue, w.queue.inspector.ListActiveTasks, func(task *asynq.TaskInfo) bool {
			key := queue + " " + task.ID
			if task.IsOrphaned || running[key] {
				return false
			}
			since, suspect := w.suspects[key]
			if !suspect {
				since = w.cfg.Now()
			}
			seen[key] = since
			return w.cfg.Now().Sub(since) >= orphanAfter
		})
		if err == nil {
			err = w.enqueueOrphans(ctx, orphans)
		}
		if err != nil {
			return err
		}
	}
	w.suspects = seen
	return nil
}

// enqueueOrphans enqueues the next generation of tasks that have no dead letter.
func (w *Worker) enqueueOrphans(ctx context.Context, orphans []*asynq.TaskInfo) error {
	ids := make([]string, len(orphans))
	for i, task := range orphans {
		ids[i] = tasks.WorkID(task.ID)
	}
	buried, err := w.cfg.Store.Buried(ctx, ids)
	if err != nil {
		return err
	}
	for i, task := range orphans {
		if buried[ids[i]] {
			continue
		}
		next := tasks.Task{Kind: tasks.Kind(task.Type), ID: task.ID, Payload: task.Payload}.NextGeneration()
		duplicate, err := w.queue.Enqueue(ctx, next)
		if err != nil {
			return err
		}
		if !duplicate {
			w.cfg.Log.Warn("orphaned task enqueued again", zap.String("queue", task.Queue), zap.String("task_id", task.ID))
		}
	}
	return nil
}

// reportWork counts what people should know about, for the metrics and for alerts.
func (w *Worker) reportWork(ctx context.Context) (err error) {
	var report tasks.WorkReport
	if report.Expiring, err = w.cfg.Store.CountExpiringMedia(ctx, w.cfg.LinkLifetime, w.cfg.Now()); err != nil {
		return err
	}
	w.metrics.expiring.Set(float64(report.Expiring))
	if report.DeadLetters, report.NewestDeadLetter, err = w.cfg.Store.CountOpenDeadLetters(ctx); err != nil {
		return err
	}
	paused, err := w.cfg.Store.PausedDestinations(ctx)
	if err != nil {
		return err
	}
	for _, destination := range paused {
		report.Paused = append(report.Paused, destination.Name)
	}
	return tasks.ReportWork(ctx, w.cfg.Redis, report)
}
