package tasks

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/redis/go-redis/v9"
)

// A queue lies in one slot of a Redis cluster, and so on one core. Events may be
// spread over several queues, their shards: "events", "events-1", "events-2" and on.
// These names fall into slots of their own, three of them on three masters of a
// cluster and four on four. The first has the name that the one queue has where
// nothing is spread, so that going from one to several and back moves nothing.

// MaxEventShards is over how many queues events can be spread.
const MaxEventShards = 64

// EventQueues returns the queues of so many shards of events, of one at the least.
func EventQueues(shards int) []string {
	names := make([]string, min(max(shards, 1), MaxEventShards))
	for i := range names {
		names[i] = shardName(i)
	}
	return names
}

func shardName(shard int) string {
	if shard == 0 {
		return QueueEvents
	}
	return QueueEvents + "-" + strconv.Itoa(shard)
}

// BaseQueue returns the queue of the policy table that a queue is, or is a shard of.
// It is the queue itself where it is neither.
func BaseQueue(queue string) string {
	number, found := strings.CutPrefix(queue, QueueEvents+"-")
	if n, err := strconv.Atoi(number); found && err == nil && n > 0 && n < MaxEventShards && shardName(n) == queue {
		return QueueEvents
	}
	return queue
}

// shardOf returns the shard, from 0, of the task with this ID.
//
// It goes by the ID, that is by an event's idempotency key, since a repeated delivery
// is recognised by an ID that its queue has: it must come to the same one. To go by the
// job would put the events of one job in a row, which nothing needs, as a job is the
// same whatever the order; would send all events that name no job to one shard, and a
// job that reports its progress often; and would have everybody who looks for a task
// by its ID (the sweep, a replay, a person) read its payload first.
//
// A change of how many there are moves as few IDs as can be, and only to or from the
// shards that are new or gone (Lamping and Veach, "A Fast, Minimal Memory, Consistent
// Hash Algorithm", 2014): a moved ID finds nothing of its own in the other queue, and
// is recognised by the store alone. Releases beside each other must agree on it: it
// may never change.
func shardOf(taskID string, shards int) int {
	if shards <= 1 {
		return 0
	}
	key := xxhash.Sum64String(taskID)
	shard, next := 0, 0
	for next < shards {
		shard = next
		key = key*2862933555777941757 + 1
		next = int(float64(shard+1) * (float64(1<<31) / float64(key>>33+1)))
	}
	return shard
}

// allQueues is the key of asynq's set of the queues that have ever had a task.
const allQueues = "asynq:queues"

// KnownQueues returns the queues of the policy table, and after them the further
// shards of events that asynq's list of queues has: also those that no setting here
// names, such as the ones that were left behind when there were more.
func KnownQueues(ctx context.Context, rdb redis.UniversalClient) ([]string, error) {
	listed, err := rdb.SMembers(ctx, allQueues).Result()
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	return append(Queues(), slices.DeleteFunc(EventQueues(MaxEventShards), func(shard string) bool {
		return shard == QueueEvents || !slices.Contains(listed, shard)
	})...), nil
}

// InUse returns those of the queues that have a task, in whatever state.
func InUse(ctx context.Context, rdb redis.UniversalClient, queues []string) ([]string, error) {
	if len(queues) == 0 {
		return nil, nil
	}
	answers := make([]*redis.IntCmd, len(queues))
	_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, queue := range queues {
			var keys []string
			for _, list := range []string{"pending", "active", "scheduled", "retry", "archived", "completed"} {
				keys = append(keys, queueKey(queue, list))
			}
			answers[i] = pipe.Exists(ctx, append(keys, overflowKey(queue))...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for tasks in queues: %w", err)
	}
	var used []string
	for i, queue := range queues {
		if answers[i].Val() > 0 {
			used = append(used, queue)
		}
	}
	return used, nil
}

// ListQueues puts on asynq's list of queues, by which its inspector, the queue pages
// and [KnownQueues] find them, those of the policy table, so many shards of events, and
// whichever other shards have a task: a client lists a queue once and never again, so
// that after Redis lost its list nobody else would know of these.
func ListQueues(ctx context.Context, rdb redis.UniversalClient, shards int) error {
	own := EventQueues(shards)
	used, err := InUse(ctx, rdb, EventQueues(MaxEventShards)[len(own):])
	if err != nil {
		return err
	}
	var members []any
	for _, queue := range slices.Concat(Queues(), own[1:], used) {
		members = append(members, queue)
	}
	if err := rdb.SAdd(ctx, allQueues, members...).Err(); err != nil {
		return fmt.Errorf("list queues: %w", err)
	}
	return nil
}

// queuesOf returns those of the known queues in which a task of the kind may be; of a
// kind that only another release knows, all.
func queuesOf(kind Kind, known []string) []string {
	p, err := PolicyOf(kind)
	if err != nil {
		return known
	}
	var queues []string
	for _, queue := range known {
		if BaseQueue(queue) == p.Queue {
			queues = append(queues, queue)
		}
	}
	return queues
}
