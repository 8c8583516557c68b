// Package join lets concurrent calls share one round trip or one transaction.
//
// A call that finds nothing under way starts at once. Calls that arrive while a
// batch is under way wait for it and share the next one. Nothing waits for a timer,
// so a lone call is as fast as without a Joiner.
package join

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Config describes a Joiner.
type Config[T, R any] struct {
	// Do handles a batch and returns one result per item, in order. When it fails for
	// several items, each is retried alone, so that one bad item fails only itself. Its
	// context has the latest deadline of the callers, and ends when the contexts of all
	// have ended. Required.
	Do func(ctx context.Context, items []T) ([]R, error)
	// MaxBatch limits the items in one batch; default 64.
	MaxBatch int
	// Parallel limits the batches under way at once; default 1. A second one starts
	// when MaxBatch items are waiting.
	Parallel int
}

// Joiner groups concurrent calls into batches. It is safe for concurrent use.
type Joiner[T, R any] struct {
	do       func(context.Context, []T) ([]R, error)
	maxBatch int
	parallel int

	running sync.WaitGroup
	mu      sync.Mutex // guards the fields below
	waiting []*call[T, R]
	active  int // batches under way
}

type call[T, R any] struct {
	ctx  context.Context
	item T
	// result and err are set before done is closed.
	result R
	err    error
	done   chan struct{}
}

// New returns a Joiner.
func New[T, R any](cfg Config[T, R]) *Joiner[T, R] {
	return &Joiner[T, R]{do: cfg.Do, maxBatch: cmp.Or(cfg.MaxBatch, 64), parallel: cmp.Or(cfg.Parallel, 1)}
}

// Do handles item in a batch and returns its result. It returns early when ctx ends;
// the item may still take effect.
func (j *Joiner[T, R]) Do(ctx context.Context, item T) (R, error) {
	c := &call[T, R]{ctx: ctx, item: item, done: make(chan struct{})}
	j.mu.Lock()
	j.waiting = append(j.waiting, c)
	if j.ready() {
		j.active++
		j.running.Go(j.run)
	}
	j.mu.Unlock()
	select {
	case <-c.done:
		return c.result, c.err
	case <-ctx.Done():
		var none R
		return none, ctx.Err()
	}
}

// Wait returns when no batch is under way. Call it after the last Do.
func (j *Joiner[T, R]) Wait() { j.running.Wait() }

// ready reports whether another batch may start. The caller has locked mu.
func (j *Joiner[T, R]) ready() bool {
	return len(j.waiting) > 0 && (j.active == 0 || j.active < j.parallel && len(j.waiting) >= j.maxBatch)
}

// run handles batches until no more may start.
func (j *Joiner[T, R]) run() {
	for {
		j.mu.Lock()
		batch := j.waiting[:min(len(j.waiting), j.maxBatch):min(len(j.waiting), j.maxBatch)]
		j.waiting = j.waiting[len(batch):]
		j.mu.Unlock()
		j.handle(batch)
		j.mu.Lock()
		j.active--
		again := j.ready()
		if again {
			j.active++
		}
		j.mu.Unlock()
		if !again {
			return
		}
	}
}

// handle answers every call of a batch whose caller still waits.
func (j *Joiner[T, R]) handle(batch []*call[T, R]) {
	live := make([]*call[T, R], 0, len(batch))
	for _, call := range batch {
		if call.ctx.Err() == nil {
			live = append(live, call)
		}
	}
	if len(live) == 0 {
		return
	}
	results, err := j.try(live)
	if err != nil && len(live) > 1 {
		for _, c := range live {
			j.running.Go(func() { j.handle([]*call[T, R]{c}) })
		}
		return
	}
	for i, call := range live {
		if call.err = err; err == nil {
			call.result = results[i]
		}
		close(call.done)
	}
}

// try calls do and turns a panic into an error, so that it neither ends the process nor
// leaves a caller waiting.
func (j *Joiner[T, R]) try(batch []*call[T, R]) (results []R, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	ctx, cancel := untilAllEnd(batch)
	defer cancel()
	items := make([]T, len(batch))
	for i, call := range batch {
		items[i] = call.item
	}
	results, err = j.do(ctx, items)
	if err == nil && len(results) != len(items) {
		return nil, fmt.Errorf("%d results for %d items", len(results), len(items))
	}
	return results, err
}

// untilAllEnd returns a context that ends when the contexts of all callers have. It has
// the latest of their deadlines, because go-redis waits for a reply until its deadline
// and ignores a cancellation.
func untilAllEnd[T, R any](batch []*call[T, R]) (context.Context, context.CancelFunc) {
	if len(batch) == 1 {
		return context.WithCancel(batch[0].ctx)
	}
	ctx := context.WithoutCancel(batch[0].ctx)
	var cancel context.CancelFunc
	if latest, ok := latestDeadline(batch); ok {
		ctx, cancel = context.WithDeadline(ctx, latest)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	var left atomic.Int64
	left.Store(int64(len(batch)))
	stops := make([]func() bool, len(batch))
	for i, call := range batch {
		stops[i] = context.AfterFunc(call.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// latestDeadline returns the latest deadline of the callers; ok is false if one has none.
func latestDeadline[T, R any](batch []*call[T, R]) (latest time.Time, ok bool) {
	for _, call := range batch {
		deadline, ok := call.ctx.Deadline()
		if !ok {
			return time.Time{}, false
		}
		if deadline.After(latest) {
			latest = deadline
		}
	}
	return latest, true
}
