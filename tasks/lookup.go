package tasks

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// LookupLease is the Redis key of the lease of the worker that asks Kling about jobs.
const LookupLease = "klinghook:lookups"

// lookupsMark is a Redis key that exists if a worker has asked Kling within lookupsKnown,
// which is long because look-ups survive an outage of the workers.
const (
	lookupsMark  = "klinghook:lookups:on"
	lookupsKnown = 24 * time.Hour
)

// NoteLookups records that a worker asks Kling about jobs.
func NoteLookups(ctx context.Context, rdb redis.UniversalClient) error {
	if err := rdb.Set(ctx, lookupsMark, 1, lookupsKnown).Err(); err != nil {
		return fmt.Errorf("record that look-ups are on: %w", err)
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
