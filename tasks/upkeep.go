package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// asynq's own names of its keys (internal/base in its source, v0.26).
func queueKey(queue, name string) string { return "asynq:{" + queue + "}:" + name }

// PendingKey is the key of the list of tasks that wait to be run, the next one last.
func PendingKey(queue string) string { return queueKey(queue, "pending") }

func taskKey(queue, id string) string { return queueKey(queue, "t:") + id }

// Missing returns those of the tasks that no queue is going to run, nor has given up, of
// tasks that are still to be done. One that is remembered there as done is among them: if
// it is owed all the same, its effect was lost, since the database did not keep it, or is
// an older copy of itself. [Forget] lets it be enqueued again. An event is looked for in
// every shard that there is, since it may have been enqueued when there were more or
// fewer. Missing asks about a thousand times in one round trip.
func Missing(ctx context.Context, rdb redis.UniversalClient, list []Task) ([]Task, error) {
	if len(list) == 0 {
		return nil, nil
	}
	known, err := KnownQueues(ctx, rdb)
	if err != nil {
		return nil, err
	}
	batch := max(1000/len(queuesOf(KindEventRecord, known)), 1)
	var missing []Task
	for page := range slices.Chunk(list, batch) {
		states := make([][]*redis.StringCmd, len(page))
		_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, t := range page {
				if _, err := PolicyOf(t.Kind); err != nil {
					return err
				}
				for _, queue := range queuesOf(t.Kind, known) {
					states[i] = append(states[i], pipe.HGet(ctx, taskKey(queue, t.ID), "state"))
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("look for tasks: %w", err)
		}
		for i, t := range page {
			there := false
			for _, answer := range states[i] {
				state, err := answer.Result()
				if err != nil && !errors.Is(err, redis.Nil) {
					return nil, fmt.Errorf("look for task %s: %w", t.ID, err)
				}
				there = there || err == nil && state != "completed"
			}
			if !there {
				missing = append(missing, t)
			}
		}
	}
	return missing, nil
}

// requeueOrphans puts back every task that is listed as active and has no lease.
// asynq adds and removes both in one step, so that at no time a task that is
// really being run looks like this; what does was left behind by a lost reply or a
// Redis that died (asynq's issues 1051 and 1144), and nothing would run it again.
//
// KEYS: active, lease, pending. ARGV: the prefix of task keys.
const requeueOrphans = `
local n = 0
for _, id in ipairs(redis.call("LRANGE", KEYS[1], 0, -1)) do
	if not redis.call("ZSCORE", KEYS[2], id) then
		redis.call("LREM", KEYS[1], 0, id)
		if redis.call("EXISTS", ARGV[1] .. id) == 1 then
			redis.call("RPUSH", KEYS[3], id)
			redis.call("HSET", ARGV[1] .. id, "state", "pending")
			n = n + 1
		end
	end
end
return n`

// RequeueOrphans puts tasks that are active without a lease back into their queue,
// without counting an attempt, and returns how many there were.
func RequeueOrphans(ctx context.Context, rdb redis.UniversalClient, queue string) (int, error) {
	keys := []string{queueKey(queue, "active"), queueKey(queue, "lease"), queueKey(queue, "pending")}
	n, err := redis.NewScript(requeueOrphans).Run(ctx, rdb, keys, queueKey(queue, "t:")).Int()
	if err != nil {
		return 0, fmt.Errorf("requeue orphans of %s: %w", queue, err)
	}
	return n, nil
}

// LookupLease is the Redis key of the one worker in the fleet that asks Kling about
// jobs. It is there while one does.
const LookupLease = "klinghook:lookups"

// lookupsMark is the Redis key that tells that a worker asks Kling, or did within
// lookupsKnown: workers that are replaced or down for a while have not given it up,
// and what is to be asked waits for them.
const (
	lookupsMark  = "klinghook:lookups:on"
	lookupsKnown = 24 * time.Hour
)

// NoteLookups notes that a worker asks Kling about jobs.
func NoteLookups(ctx context.Context, rdb redis.UniversalClient) error {
	if err := rdb.Set(ctx, lookupsMark, 1, lookupsKnown).Err(); err != nil {
		return fmt.Errorf("note who asks Kling: %w", err)
	}
	return nil
}

// LookupsOn reports whether a worker asks Kling about jobs, or did within a day.
func LookupsOn(ctx context.Context, rdb redis.UniversalClient) (bool, error) {
	n, err := rdb.Exists(ctx, lookupsMark).Result()
	if err != nil {
		return false, fmt.Errorf("look for who asks Kling: %w", err)
	}
	return n > 0, nil
}
