package tasks

import (
	"context"
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

// forgetDone answers whether a task is in its queue and will be run, or was given up
// there. One that is remembered as done, for its kind's retention, is neither: it is
// forgotten.
//
// KEYS: the task, the set of what is done. ARGV: its id.
const forgetDone = `
local state = redis.call("HGET", KEYS[1], "state")
if state == "completed" then
	redis.call("ZREM", KEYS[2], ARGV[1])
	redis.call("DEL", KEYS[1])
	return 0
end
return state and 1 or 0`

// Missing returns those of the tasks that no queue has, of tasks that are still to be
// done. One that is remembered there as done, and yet is owed, has lost its effect: the
// database did not keep it, or is an older copy of itself. It is forgotten, so that it
// can be enqueued again. An event is looked for in every shard that there is, since it
// may have been enqueued when there were more or fewer. Missing asks about a thousand
// times in one round trip.
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
		answers := make([][]*redis.Cmd, len(page))
		_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, t := range page {
				if _, err := PolicyOf(t.Kind); err != nil {
					return err
				}
				for _, queue := range queuesOf(t.Kind, known) {
					keys := []string{taskKey(queue, t.ID), queueKey(queue, "completed")}
					answers[i] = append(answers[i], pipe.Eval(ctx, forgetDone, keys, t.ID))
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look for tasks: %w", err)
		}
		for i, t := range page {
			there := 0
			for _, answer := range answers[i] {
				n, err := answer.Int()
				if err != nil {
					return nil, fmt.Errorf("look for task %s: %w", t.ID, err)
				}
				there += n
			}
			if there == 0 {
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
