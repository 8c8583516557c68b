package tasks

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// FindLeakedAtMost is FindLeaked with another bound on the keys that it looks at.
func FindLeakedAtMost(ctx context.Context, rdb redis.UniversalClient, most int) (int, error) {
	return findLeaked(ctx, rdb, most)
}
