package tasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// ErrQueueFull means that a queue has as many tasks as its policy allows.
var ErrQueueFull = errors.New("the queue is full; check that workers run its tasks")

// Client enqueues tasks. It is safe for concurrent use.
type Client struct {
	rdb    redis.UniversalClient
	asynq  atomic.Pointer[asynq.Client]
	events []string // the event queues
}

// NewClient returns a Client with one event queue. The caller closes rdb.
func NewClient(rdb redis.UniversalClient) *Client { return NewShardedClient(rdb, 1) }

// NewShardedClient returns a Client that spreads events over several queues. Every process
// must use the same number.
func NewShardedClient(rdb redis.UniversalClient, shards int) *Client {
	c := &Client{rdb: rdb, events: EventQueues(shards)}
	c.asynq.Store(asynq.NewClientFromRedisClient(rdb))
	return c
}

// Enqueue puts a task into its kind's queue and returns once Redis has it. duplicate
// reports that a task with this ID exists in any state. That is success: the work is
// queued or done.
//
// The task carries its own trace, or else the trace in ctx.
//
// After an error the task may still be queued, because only the reply may be lost.
// Enqueuing it again is always safe.
func (c *Client) Enqueue(ctx context.Context, t Task) (duplicate bool, err error) {
	policy, err := PolicyOf(t.Kind)
	if err != nil {
		return false, fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	if policy.MaxQueued > 0 {
		if err := c.makeRoom(ctx, policy); err != nil {
			return false, fmt.Errorf("enqueue %s: %w", t.ID, err)
		}
	}
	task := asynq.NewTaskWithHeaders(string(t.Kind), t.Payload, traceHeaders(cmp.Or(t.Trace, TraceOf(ctx))))
	// Never add asynq.Unique: after an ID conflict its lock would stay.
	_, err = c.asynq.Load().EnqueueContext(ctx, task, asynq.TaskID(t.ID), asynq.Queue(c.queueOf(policy, t.ID)),
		asynq.MaxRetry(policy.Attempts-1), asynq.Timeout(policy.Timeout), asynq.Retention(policy.Retention))
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return true, nil
	}
	if err != nil {
		// An asynq client registers a queue once. If Redis lost its data, only a new client
		// registers it again, and until then no Inspector sees its tasks.
		c.asynq.Store(asynq.NewClientFromRedisClient(c.rdb))
		return false, fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	return false, nil
}

// QueueOf returns the queue of the task with this kind and ID.
func (c *Client) QueueOf(kind Kind, id string) (string, error) {
	policy, err := PolicyOf(kind)
	if err != nil {
		return "", err
	}
	return c.queueOf(policy, id), nil
}

func (c *Client) queueOf(policy Policy, id string) string {
	if policy.Queue == QueueEvents {
		return c.events[shardOf(id, len(c.events))]
	}
	return policy.Queue
}

// makeRoom deletes the archived tasks of a full queue, which are also dead letters. If there
// are none, it returns ErrQueueFull. Concurrent processes may each exceed the limit by one.
func (c *Client) makeRoom(ctx context.Context, policy Policy) error {
	counted := make(chan error, 1)
	go func() { counted <- c.count(policy) }() // asynq's Inspector takes no context
	select {
	case err := <-counted:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) count(policy Policy) error {
	inspector := asynq.NewInspectorFromRedisClient(c.rdb)
	known, err := inspector.Queues()
	if err != nil || !slices.Contains(known, policy.Queue) {
		return err
	}
	info, err := inspector.GetQueueInfo(policy.Queue)
	switch {
	case err != nil || info.Size+info.Completed < policy.MaxQueued:
		return err
	case info.Archived == 0:
		return fmt.Errorf("%s: %w", policy.Queue, ErrQueueFull)
	}
	_, err = inspector.DeleteAllArchivedTasks(policy.Queue)
	return err
}

// DropSamples deletes the samples of refused deliveries that no worker is running. It
// frees memory in a nearly full Redis, so that workers can dequeue.
func (c *Client) DropSamples() error {
	inspector := asynq.NewInspectorFromRedisClient(c.rdb)
	known, err := inspector.Queues()
	if err != nil || !slices.Contains(known, QueueRejections) {
		return err
	}
	var errs []error
	for _, drop := range []func(queue string) (int, error){
		inspector.DeleteAllPendingTasks, inspector.DeleteAllRetryTasks, inspector.DeleteAllArchivedTasks, inspector.DeleteAllCompletedTasks,
	} {
		_, err := drop(QueueRejections)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
