package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/worker/media"
)

const (
	// pruneEvery is how often one worker of the fleet prunes.
	pruneEvery = time.Hour
	// pruneLease is the Redis key of the worker that prunes.
	pruneLease = "klinghook:prune"
	// doomEvery is how often a worker deletes doomed objects that another one left.
	doomEvery = time.Minute
	// doomedBatch is how many doomed objects a worker claims at a time, and doomClaim for
	// how long. doomTimeout leaves a margin before another worker may claim them.
	doomedBatch = 100
	doomClaim   = 5 * time.Minute
	doomTimeout = 2 * time.Minute
)

// Pruner deletes finished work that is older than its retention.
type Pruner struct {
	Store     *store.Store
	Bucket    *media.Bucket
	Retention store.Retention
	// DryRun counts what would be deleted and deletes nothing.
	DryRun bool
	// Now is the clock.
	Now func() time.Time
}

// Prune deletes rows, as [store.Store.Prune] does, and then objects. It returns the counts
// even if it fails.
func (p *Pruner) Prune(ctx context.Context) (store.Pruned, error) {
	pruned, err := p.Store.Prune(ctx, store.Pruning{Retention: p.Retention, Now: p.Now(), DryRun: p.DryRun})
	if !p.DryRun {
		err = errors.Join(err, p.DeleteObjects(ctx))
	}
	return pruned, err
}

// DeleteObjects deletes the doomed objects from the bucket.
func (p *Pruner) DeleteObjects(ctx context.Context) error {
	for {
		now := p.Now()
		doomed, err := p.Store.DoomedObjects(ctx, now, now.Add(doomClaim), doomedBatch)
		if err != nil || len(doomed) == 0 {
			return err
		}
		if err := p.deleteObjects(ctx, doomed); err != nil {
			return fmt.Errorf("delete %d objects: %w", len(doomed), err)
		}
	}
}

// deleteObjects deletes claimed objects. Those that it cannot delete stay doomed.
func (p *Pruner) deleteObjects(ctx context.Context, doomed []string) error {
	ctx, cancel := context.WithTimeout(ctx, doomTimeout)
	defer cancel()
	var mu sync.Mutex // guards gone and failed
	var gone []string
	var failed error // one is enough
	err := inParallel(ctx, doomed, func(ctx context.Context, object string) error {
		err := p.Bucket.Remove(ctx, object)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			gone = append(gone, object)
		} else {
			failed = err
		}
		return nil // try the others
	})
	return errors.Join(err, failed, p.Store.ObjectsDeleted(context.WithoutCancel(ctx), gone))
}

func (w *Worker) pruner() *Pruner {
	return &Pruner{Store: w.cfg.Store, Bucket: w.cfg.Bucket, Retention: w.cfg.Retention, Now: w.cfg.Now}
}

// runPrunes prunes and deletes doomed objects at once and then regularly, until ctx ends.
func (w *Worker) runPrunes(ctx context.Context) {
	tick := time.NewTicker(doomEvery)
	defer tick.Stop()
	for {
		if err := w.pruneInTurn(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("prune failed", zap.Error(err))
		}
		w.deleteObjects(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pruneInTurn prunes unless another worker has started to within the interval.
func (w *Worker) pruneInTurn(ctx context.Context) error {
	if w.cfg.Retention == (store.Retention{}) {
		return nil
	}
	mine, err := w.cfg.Redis.SetNX(ctx, pruneLease, 1, pruneEvery-time.Second).Result()
	if err != nil {
		return fmt.Errorf("take prune lease: %w", err)
	}
	if !mine {
		return nil
	}
	return w.Prune(ctx)
}

// Prune deletes finished work that is older than its retention. It may run in two workers
// at once.
func (w *Worker) Prune(ctx context.Context) error {
	start := w.cfg.Now()
	pruned, err := w.pruner().Prune(ctx)
	w.metrics.countPruned(pruned)
	if pruned != (store.Pruned{}) {
		w.cfg.Log.Info("old work deleted", zap.Int64("events", pruned.Events), zap.Int64("jobs", pruned.Jobs),
			zap.Int64("files", pruned.Files), zap.Int64("bytes", pruned.Bytes), zap.Int64("dead_letters", pruned.DeadLetters),
			zap.Int64("rejections", pruned.Rejections), zap.Duration("duration", w.cfg.Now().Sub(start)))
	}
	return err
}

// deleteObjects deletes doomed objects. What it cannot delete, a later round does.
func (w *Worker) deleteObjects(ctx context.Context) {
	if err := w.pruner().DeleteObjects(ctx); err != nil && ctx.Err() == nil {
		w.cfg.Log.Warn("objects not deleted; the next attempt is in a few minutes", zap.Error(err))
	}
}
