package tasks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxRepeats is how many repeated deliveries of an event are remembered.
	maxRepeats = 20
	// repeatsKept is for how long after the last one.
	repeatsKept = 30 * 24 * time.Hour
)

func repeatsKey(eventID string) string { return "klinghook:repeats:" + eventID }

// NoteRepeat remembers in Redis that an event was delivered again, which has no other effect:
// the last 20 times, for 30 days.
func NoteRepeat(ctx context.Context, rdb redis.UniversalClient, eventID string, at time.Time) error {
	key := repeatsKey(eventID)
	_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.LPush(ctx, key, at.UnixMicro())
		pipe.LTrim(ctx, key, 0, maxRepeats-1)
		pipe.Expire(ctx, key, repeatsKept)
		return nil
	})
	if err != nil {
		return fmt.Errorf("note repeat of %s: %w", eventID, err)
	}
	return nil
}

// RepeatsOf returns when events were delivered again, oldest first, by event id.
func RepeatsOf(ctx context.Context, rdb redis.UniversalClient, eventIDs []string) (map[string][]time.Time, error) {
	lists := make([]*redis.StringSliceCmd, len(eventIDs))
	_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, id := range eventIDs {
			lists[i] = pipe.LRange(ctx, repeatsKey(id), 0, -1)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read repeats of events: %w", err)
	}
	repeats := make(map[string][]time.Time)
	for i, id := range eventIDs {
		var times []int64
		if err := lists[i].ScanSlice(&times); err != nil {
			return nil, fmt.Errorf("read repeats of %s: %w", id, err)
		}
		slices.Sort(times)
		for _, micros := range times {
			repeats[id] = append(repeats[id], time.UnixMicro(micros).UTC())
		}
	}
	return repeats, nil
}

// ForgetRepeats deletes what NoteRepeat noted of events.
func ForgetRepeats(ctx context.Context, rdb redis.UniversalClient, eventIDs []string) error {
	_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, id := range eventIDs {
			pipe.Del(ctx, repeatsKey(id))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget repeats of events: %w", err)
	}
	return nil
}
