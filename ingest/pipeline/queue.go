package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// defaultFlushers is how many batches of a queue are under way at once: enough that
	// at a distant Redis who comes finds one that is free.
	defaultFlushers = 8
	// defaultMaxPending is more than the batches hold together, and few enough that a
	// Redis which answers at all gets through them in a caller's time.
	defaultMaxPending = 1024
)

// Config is what a Queue is made of.
type Config struct {
	// Redis stays the caller's to close, after Close. Its ContextTimeoutEnabled must be
	// set. Required.
	Redis redis.UniversalClient
	// EventShards is over how many queues events are spread; default 1.
	EventShards int
	// Flushers is how many batches of each queue may be under way at once; default 8.
	Flushers int
	// Timeout, where set, is how long an Enqueue takes at most, if its context allows as
	// much.
	Timeout time.Duration
	// MaxPending is how many enqueues may be under way at once; default 1,024.
	MaxPending int
}

// Queue enqueues tasks. It is safe for concurrent use, and must be closed.
type Queue struct {
	bulk     *tasks.Bulk
	shards   []string // the queues of events
	timeout  time.Duration
	flushers int
	max      int64
	pending  atomic.Int64

	mu       sync.RWMutex // guards batchers
	batchers map[string]*batcher
}

// New returns a Queue for cfg.
func New(cfg Config) *Queue {
	return &Queue{
		bulk: tasks.NewBulk(cfg.Redis), shards: tasks.EventQueues(cfg.EventShards), timeout: cfg.Timeout, flushers: cmp.Or(cfg.Flushers, defaultFlushers),
		max: int64(cmp.Or(cfg.MaxPending, defaultMaxPending)), batchers: make(map[string]*batcher),
	}
}

// Enqueue is [tasks.Client.Enqueue], but that the task's trace is the one in it, and
// that it goes by its context's deadline and does not end when that is cancelled: it
// takes no longer than it may anyway. Where too
// many enqueues are under way it returns an error that matches [tasks.ErrOverloaded], at
// once; such a task was not enqueued.
func (q *Queue) Enqueue(ctx context.Context, t tasks.Task) (duplicate bool, err error) {
	m, err := tasks.NewMessage(t, q.shards...)
	if err != nil {
		return false, err
	}
	defer q.pending.Add(-1)
	if q.pending.Add(1) > q.max {
		return false, fmt.Errorf("enqueue %s: %w", t.ID, tasks.ErrOverloaded)
	}
	duplicate, err = q.batcherOf(m.Queue).enqueue(ctx, m)
	if err != nil {
		return false, fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	return duplicate, nil
}

// batcherOf returns the batcher of a queue, and makes it for the first task.
func (q *Queue) batcherOf(queue string) *batcher {
	q.mu.RLock()
	b, ok := q.batchers[queue]
	q.mu.RUnlock()
	if ok {
		return b
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if b, ok = q.batchers[queue]; !ok {
		b = newBatcher(q.bulk, q.timeout, q.flushers, int(q.max))
		q.batchers[queue] = b
	}
	return b
}

// Close returns when what waits was sent. What is enqueued after it is sent one by
// one.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range q.batchers {
		b.close()
	}
}
