package tasks

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// FindLeakedAtMost is FindLeaked with another bound on the keys that it looks at.
func FindLeakedAtMost(ctx context.Context, rdb redis.UniversalClient, most int) (int, error) {
	return findLeaked(ctx, rdb, most)
}

// ShardOf is the shard, from 0, of the task with this ID.
func ShardOf(taskID string, shards int) int { return shardOf(taskID, shards) }
