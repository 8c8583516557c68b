package tasks

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// enqueueAll does for several tasks of one queue what asynq's enqueueCmd
// (internal/rdb, v0.26) does for one: a task that is there already, in whatever state,
// is left as it is. Most of what a script costs Redis is the calling of it and of its
// commands: in the usual case, in which all are new, there is one for each task and two
// for all of them.
//
// KEYS: the pending list, then the tasks. ARGV: the time in ns, then the message and
// the ID of each task. It returns 1 for each task that was enqueued and 0 for each that
// was there.
const enqueueAll = `
local call, n, now = redis.call, #KEYS - 1, ARGV[1]
local answers, ids, seen, new = {}, {}, {}, call("EXISTS", unpack(KEYS, 2)) == 0
for i = 1, n do
	local id = ARGV[2 * i + 1]
	if seen[id] or not new and call("EXISTS", KEYS[i + 1]) == 1 then
		answers[i] = 0
	else
		answers[i], seen[id], ids[#ids + 1] = 1, true, id
	end
end
if #ids == 0 then
	return answers
end
-- The list first: were it broken, tasks would be left that nothing runs.
call("LPUSH", KEYS[1], unpack(ids))
for i = 1, n do
	if answers[i] == 1 then
		call("HSET", KEYS[i + 1], "msg", ARGV[2 * i], "state", "pending", "pending_since", now)
	end
end
return answers`

// MaxBulk is the most tasks that [Bulk.Enqueue] takes at once: what Lua's stack has
// room for, with some to spare.
const MaxBulk = 1000

// Bulk enqueues tasks, several in one round trip. It is safe for concurrent use.
type Bulk struct {
	rdb    redis.UniversalClient
	script *redis.Script
	// listed are the queues that are on asynq's list of them.
	listed sync.Map
}

// NewBulk returns a Bulk on a Redis connection, which stays the caller's to close.
func NewBulk(rdb redis.UniversalClient) *Bulk {
	return &Bulk{rdb: rdb, script: redis.NewScript(enqueueAll)}
}

// Enqueue puts messages into their queue, which must be the same for all, in their
// order. It returns once Redis has them, and says of each whether a task of its ID was
// there already, which is success: see [Client.Enqueue]. An error is that of all, and
// never proves that none was enqueued.
func (b *Bulk) Enqueue(ctx context.Context, list []Message) (duplicates []bool, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	queue := list[0].Queue
	if err := b.list(ctx, queue); err != nil {
		return nil, err
	}
	keys := make([]string, 0, 1+len(list))
	args := make([]any, 0, 1+2*len(list))
	keys = append(keys, PendingKey(queue))
	args = append(args, time.Now().UnixNano())
	for i := range list {
		keys = append(keys, taskKey(queue, list[i].TaskID))
		args = append(args, list[i].Encoded, list[i].TaskID)
	}
	answers, err := b.script.Run(ctx, b.rdb, keys, args...).Int64Slice()
	if err == nil && len(answers) != len(list) {
		err = fmt.Errorf("there are %d answers from Redis", len(answers))
	}
	if err != nil {
		return nil, fmt.Errorf("enqueue %d tasks in %s: %w", len(list), queue, err)
	}
	duplicates = make([]bool, len(list))
	for i, answer := range answers {
		duplicates[i] = answer == 0
	}
	return duplicates, nil
}

// list puts a queue on asynq's list of queues, by which its inspector finds it, before
// the first task.
func (b *Bulk) list(ctx context.Context, queue string) error {
	if _, listed := b.listed.Load(queue); listed {
		return nil
	}
	if err := b.rdb.SAdd(ctx, allQueues, queue).Err(); err != nil {
		return fmt.Errorf("list queue %s: %w", queue, err)
	}
	b.listed.Store(queue, true)
	return nil
}
