package tasks

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// In a Redis cluster, all keys of a queue are in one slot, and so on one node. Events
// may be spread over several queues, their shards: "events", "events-1", "events-2", …
// Three shards are on three nodes of a cluster with three, and four on four.

// MaxEventShards is the largest number of shards.
const MaxEventShards = 64

// EventQueues returns the queues of events when there are this many shards; at least
// one.
func EventQueues(shards int) []string {
	names := []string{QueueEvents}
	for i := 1; i < min(shards, MaxEventShards); i++ {
		names = append(names, QueueEvents+"-"+strconv.Itoa(i))
	}
	return names
}

// BaseQueue returns [QueueEvents] for its shards and any other queue unchanged.
func BaseQueue(queue string) string {
	if number, found := strings.CutPrefix(queue, QueueEvents+"-"); found {
		if n, err := strconv.Atoi(number); err == nil && n > 0 && strconv.Itoa(n) == number {
			return QueueEvents
		}
	}
	return queue
}

// shardOf returns the shard of a task, from 0. It depends on the ID alone, so that a
// repeated delivery meets its own task.
func shardOf(taskID string, shards int) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(taskID)) // never fails
	return int(hash.Sum32() % uint32(shards))
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
