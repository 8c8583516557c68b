package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// defaultFlushers is how many pipelines are under way at once. Each makes the
	// others shorter, and one alone leaves Redis idle while it is being written.
	defaultFlushers = 4
	// defaultMaxPending is more than the pipelines hold together, and few enough that
	// a Redis which answers at all gets through them in a caller's time.
	defaultMaxPending = 1024
)

// Config is what a Queue is made of.
type Config struct {
	// Redis stays the caller's to close, after Close. Its ContextTimeoutEnabled must be
	// set. Required.
	Redis redis.UniversalClient
	// Flushers is how many pipelines may be under way at once; default 4.
	Flushers int
	// MaxPending is how many enqueues may be under way at once; default 1,024.
	MaxPending int
}

// Queue enqueues tasks. It is safe for concurrent use, and must be closed.
type Queue struct {
	client  *tasks.Client
	batcher *batcher
	pending atomic.Int64
	max     int64
}

// New returns a Queue for cfg.
func New(cfg Config) *Queue {
	most := cmp.Or(cfg.MaxPending, defaultMaxPending)
	b := newBatcher(cfg.Redis, cmp.Or(cfg.Flushers, defaultFlushers), most)
	return &Queue{client: tasks.NewClient(b), batcher: b, max: int64(most)}
}

// Enqueue is [tasks.Client.Enqueue]. Where too many enqueues are under way it returns
// an error that matches [tasks.ErrOverloaded], at once; such a task was not enqueued.
func (q *Queue) Enqueue(ctx context.Context, t tasks.Task) (duplicate bool, err error) {
	defer q.pending.Add(-1)
	if q.pending.Add(1) > q.max {
		return false, fmt.Errorf("enqueue %s: %w", t.ID, tasks.ErrOverloaded)
	}
	return q.client.Enqueue(ctx, t)
}

// Close returns when what waits was sent. What is enqueued after it is sent one by
// one.
func (q *Queue) Close() { q.batcher.close() }
