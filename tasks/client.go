package tasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// ErrOverloaded is that more is being enqueued than is let in at once. It says nothing
// against the queue, and a task that it is the answer to was not enqueued.
var ErrOverloaded = errors.New("too much is being enqueued at once; try again in a moment")

// Client enqueues tasks. It is safe for concurrent use.
type Client struct {
	asynq *asynq.Client
	// options are what the policy of each kind makes of its tasks, by shard.
	options map[Kind][][]asynq.Option
}

// NewClient returns a Client on a Redis connection, which stays the caller's to
// close. Its events go into one queue.
func NewClient(rdb redis.UniversalClient) *Client { return NewShardedClient(rdb, 1) }

// NewShardedClient is NewClient for events that are spread over so many queues, 1 to
// [MaxEventShards].
func NewShardedClient(rdb redis.UniversalClient, shards int) *Client {
	c := &Client{asynq: asynq.NewClientFromRedisClient(rdb), options: make(map[Kind][][]asynq.Option)}
	for _, p := range Policies() {
		queues := []string{p.Queue}
		if p.Queue == QueueEvents {
			queues = EventQueues(shards)
		}
		for _, queue := range queues {
			c.options[p.Kind] = append(c.options[p.Kind],
				[]asynq.Option{asynq.Queue(queue), asynq.MaxRetry(p.Attempts - 1), asynq.Timeout(p.Timeout), asynq.Retention(p.Retention)})
		}
	}
	return c
}

// Enqueue puts a task into its kind's queue. It returns once Redis has it.
// duplicate reports that a task of the same ID was there already, in whatever
// state, which is success: the work is in hand or done.
//
// The task's trace is the one in it, else that of ctx.
//
// An error never proves that the task was not enqueued: the answer of Redis may
// be what was lost. Enqueuing again is always safe.
func (c *Client) Enqueue(ctx context.Context, t Task) (duplicate bool, err error) {
	shards, ok := c.options[t.Kind]
	if !ok {
		_, err := PolicyOf(t.Kind)
		return false, fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	// TaskID alone: together with asynq.Unique a conflict would leave the unique
	// lock behind.
	task := asynq.NewTaskWithHeaders(string(t.Kind), t.Payload, traceHeaders(cmp.Or(t.Trace, TraceOf(ctx))), asynq.TaskID(t.ID))
	_, err = c.asynq.EnqueueContext(ctx, task, shards[shardOf(t.ID, len(shards))]...)
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	return false, nil
}
