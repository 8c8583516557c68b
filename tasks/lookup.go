package tasks

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// LookupLease is the Redis key of the one worker in the fleet that asks Kling about
// jobs.
const LookupLease = "klinghook:lookups"

// lookupsMark is the Redis key that says that a worker has asked Kling within
// lookupsKnown: look-ups wait for workers that are down for a while.
const (
	lookupsMark  = "klinghook:lookups:on"
	lookupsKnown = 24 * time.Hour
)

// NoteLookups notes that a worker asks Kling about jobs.
func NoteLookups(ctx context.Context, rdb redis.UniversalClient) error {
	if err := rdb.Set(ctx, lookupsMark, 1, lookupsKnown).Err(); err != nil {
		return fmt.Errorf("note that look-ups are on: %w", err)
	}
	return nil
}

// LookupsOn reports whether a worker has asked Kling about jobs within a day.
func LookupsOn(ctx context.Context, rdb redis.UniversalClient) (bool, error) {
	n, err := rdb.Exists(ctx, lookupsMark).Result()
	if err != nil {
		return false, fmt.Errorf("check whether look-ups are on: %w", err)
	}
	return n > 0, nil
}
