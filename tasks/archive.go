package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// asynq's archive holds 10,000 tasks of a queue. What is beyond it deletes from
// Redis when a worker archives, and forgets when its inspector does: then the
// task's hash stays, in the state archived, and no list has it (v0.26, the archive
// scripts in internal/rdb). Neither may reach a task that has no dead letter yet.
// So all but the newest of the archive are moved to a list of ours, the overflow,
// which nobody trims, until a sweep has buried them; and a scan puts there what was
// forgotten. The overflow's key is in the queue's slot, so that every script here
// is one step in a cluster too.
const (
	// ArchiveKept is how many archived tasks of a queue stay in the archive, to be
	// seen in the queue pages.
	ArchiveKept = 1000
	// ArchiveFull is how many there may be before room must be made: half of what
	// asynq holds.
	ArchiveFull = 5000
	// scanPage is how many keys Redis looks at in one step of a scan, for which
	// nothing else waits longer than about a millisecond.
	scanPage = 1000
	// scanMost is how many keys one call of FindLeaked looks at: about 0.3 s of
	// Redis's time, in steps. More keys than that are gone through in several calls.
	scanMost = 200_000
)

func overflowKey(queue string) string { return "klinghook:{" + queue + "}:overflow" }

// archiveKeys are the keys of all scripts here; the prefix of task keys is their
// first argument.
func archiveKeys(queue string) []string {
	return []string{queueKey(queue, "archived"), overflowKey(queue), queueKey(queue, "completed")}
}

// ARGV: how many there may be, how many stay.
const makeRoom = `
local n = redis.call("ZCARD", KEYS[1])
if n <= tonumber(ARGV[1]) then
	return 0
end
local last = n - tonumber(ARGV[2]) - 1
local old = redis.call("ZRANGE", KEYS[1], 0, last, "WITHSCORES")
for i = 1, #old, 2 do
	redis.call("ZADD", KEYS[2], old[i + 1], old[i])
end
redis.call("ZREMRANGEBYRANK", KEYS[1], 0, last)
return #old / 2`

// MakeRoom moves all but the newest ArchiveKept tasks from a queue's archive to its
// overflow if there are more than limit, which is ArchiveKept at the least, and
// returns how many it moved.
func MakeRoom(ctx context.Context, rdb redis.UniversalClient, queue string, limit int) (int, error) {
	n, err := redis.NewScript(makeRoom).Run(ctx, rdb, archiveKeys(queue), max(limit, ArchiveKept), ArchiveKept).Int()
	if err != nil {
		return 0, fmt.Errorf("make room in the archive of %s: %w", queue, err)
	}
	return n, nil
}

// ARGV: the prefix, ids. asynq changes a task's state and the lists in one step, so
// that a task in motion never looks like one that was forgotten.
const takeLeaked = `
local n = 0
for i = 2, #ARGV do
	if redis.call("HGET", ARGV[1] .. ARGV[i], "state") == "archived" and not redis.call("ZSCORE", KEYS[1], ARGV[i]) then
		n = n + redis.call("ZADD", KEYS[2], "NX", 0, ARGV[i])
	end
end
return n`

// FindLeaked looks for archived tasks that no list has, puts them into their
// queue's overflow, and returns how many there were. One call looks at 200,000 keys
// at most; the next one goes on from there, whoever makes it.
func FindLeaked(ctx context.Context, rdb redis.UniversalClient) (int, error) {
	return findLeaked(ctx, rdb, scanMost)
}

func findLeaked(ctx context.Context, rdb redis.UniversalClient, most int) (int, error) {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		return findLeakedOn(ctx, nodeScan{rdb: rdb, node: rdb, most: most})
	}
	var found atomic.Int64
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		n, err := findLeakedOn(ctx, nodeScan{rdb: rdb, node: node, name: node.Options().Addr, most: most})
		found.Add(int64(n))
		return err
	})
	return int(found.Load()), err
}

// nodeScan goes through the keys of one node, whose name is empty where it is the
// only one.
type nodeScan struct {
	rdb  redis.UniversalClient
	node redis.Cmdable
	name string
	// most is how many keys it looks at.
	most int
}

// findLeakedOn is FindLeaked for the keys of one node.
func findLeakedOn(ctx context.Context, s nodeScan) (found int, err error) {
	// Where the last call stopped: Redis lets a scan go on from there at any time.
	place := "klinghook:scan:" + s.name
	cursor, err := s.rdb.Get(ctx, place).Uint64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("look for leaked tasks: %w", err)
	}
	for range s.most / scanPage {
		var keys []string
		if keys, cursor, err = s.node.Scan(ctx, cursor, taskKey("*", "*"), scanPage).Result(); err != nil {
			return found, fmt.Errorf("look for leaked tasks: %w", err)
		}
		n, err := takeLeakedOf(ctx, s.rdb, keys)
		found += n
		if err != nil {
			return found, err
		}
		if cursor == 0 {
			break
		}
	}
	if err := s.rdb.Set(ctx, place, cursor, 0).Err(); err != nil {
		return found, fmt.Errorf("look for leaked tasks: %w", err)
	}
	return found, nil
}

// takeLeakedOf takes those of the task keys that were forgotten.
func takeLeakedOf(ctx context.Context, rdb redis.UniversalClient, keys []string) (found int, err error) {
	byQueue := make(map[string][]any) // the arguments of the script
	for _, key := range keys {
		queue, id, ok := splitTaskKey(key)
		if !ok {
			continue
		}
		if byQueue[queue] == nil {
			byQueue[queue] = []any{taskKey(queue, "")}
		}
		byQueue[queue] = append(byQueue[queue], id)
	}
	for queue, args := range byQueue {
		n, err := redis.NewScript(takeLeaked).Run(ctx, rdb, archiveKeys(queue), args...).Int()
		if err != nil {
			return found, fmt.Errorf("take leaked tasks of %s: %w", queue, err)
		}
		found += n
	}
	return found, nil
}

// splitTaskKey returns the queue, which is one of ours, and the ID of the task with
// this key.
func splitTaskKey(key string) (queue, id string, ok bool) {
	rest, found := strings.CutPrefix(key, "asynq:{")
	if !found {
		return "", "", false
	}
	queue, id, ok = strings.Cut(rest, "}:t:")
	return queue, id, ok && slices.Contains(Queues(), BaseQueue(queue))
}

// Overflow returns the ids of the n oldest tasks in a queue's overflow.
func Overflow(ctx context.Context, rdb redis.UniversalClient, queue string, n int) ([]string, error) {
	ids, err := rdb.ZRange(ctx, overflowKey(queue), 0, int64(n)-1).Result()
	if err != nil {
		return nil, fmt.Errorf("list the overflow of %s: %w", queue, err)
	}
	return ids, nil
}

// ARGV: the prefix, ids.
const dropOverflow = `
for i = 2, #ARGV do
	redis.call("ZREM", KEYS[2], ARGV[i])
	if redis.call("HGET", ARGV[1] .. ARGV[i], "state") == "archived" and not redis.call("ZSCORE", KEYS[1], ARGV[i]) then
		redis.call("DEL", ARGV[1] .. ARGV[i])
	end
end
return 0`

// DropOverflow deletes tasks of a queue's overflow. Of one that was set in motion
// meanwhile only the entry in the overflow goes.
func DropOverflow(ctx context.Context, rdb redis.UniversalClient, queue string, ids []string) error {
	args := []any{taskKey(queue, "")}
	for _, id := range ids {
		args = append(args, id)
	}
	if err := redis.NewScript(dropOverflow).Run(ctx, rdb, archiveKeys(queue), args...).Err(); err != nil {
		return fmt.Errorf("drop the overflow of %s: %w", queue, err)
	}
	return nil
}

// ARGV: the prefix, the id, the states that are let go of.
const release = `
local state = redis.call("HGET", ARGV[1] .. ARGV[2], "state")
for i = 3, #ARGV do
	if state == ARGV[i] then
		for _, list in ipairs(KEYS) do
			redis.call("ZREM", list, ARGV[2])
		end
		return redis.call("DEL", ARGV[1] .. ARGV[2])
	end
end
return 0`

// Unarchive deletes a task that is archived, whether a list has it or not. A task
// in any other state is left alone.
func Unarchive(ctx context.Context, rdb redis.UniversalClient, t Task) error {
	return releaseFrom(ctx, rdb, t, "archived")
}

// Forget deletes a task that is done and retained, so that it can be enqueued again. A
// task in any other state is left alone.
func Forget(ctx context.Context, rdb redis.UniversalClient, t Task) error {
	return releaseFrom(ctx, rdb, t, "completed")
}

// Release deletes a task that is archived, or done and retained, so that its id is
// free. A task that waits or runs is left alone.
func Release(ctx context.Context, rdb redis.UniversalClient, t Task) error {
	return releaseFrom(ctx, rdb, t, "archived", "completed")
}

func releaseFrom(ctx context.Context, rdb redis.UniversalClient, t Task, states ...any) error {
	known, err := KnownQueues(ctx, rdb)
	if err != nil {
		return err
	}
	for _, queue := range queuesOf(t.Kind, known) {
		args := append([]any{taskKey(queue, ""), t.ID}, states...)
		if err := redis.NewScript(release).Run(ctx, rdb, archiveKeys(queue), args...).Err(); err != nil {
			return fmt.Errorf("free the id of task %s: %w", t.ID, err)
		}
	}
	return nil
}
