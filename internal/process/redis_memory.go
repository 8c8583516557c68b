package process

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// At 100 % of maxmemory Redis refuses every write, even from workers. Ingest stops using
// Redis at memoryHigh percent, so that workers can empty the queue, and uses it again
// below memoryLow.
const (
	memoryHigh = 90
	memoryLow  = 85
)

// ErrMemory means that Redis has used most of its memory.
var ErrMemory = errors.New("the memory of Redis is nearly full: raise maxmemory, or let the workers catch up")

// RedisHealth returns a function that reports why ingest must not use Redis: it refuses
// writes, does not answer, or uses 90 % or more of its memory limit, until it uses less
// than 85 %. Memory is ignored if there is no limit, if all keys may be evicted (which
// loses tasks anyway), or if INFO is not allowed.
//
// In a cluster the fullest master that answers counts, because the queues are on different
// masters, and a queue that cannot be emptied fills up.
func RedisHealth(rdb redis.UniversalClient) func(context.Context) error {
	var high atomic.Bool
	write := RedisCheck(rdb)
	return func(ctx context.Context) error {
		percent, err := fullest(ctx, rdb)
		if err != nil {
			return fmt.Errorf("read Redis's memory usage: %w", err)
		}
		threshold := float64(memoryHigh)
		if high.Load() {
			threshold = memoryLow
		}
		high.Store(percent >= threshold)
		if percent >= threshold {
			return fmt.Errorf("%w (%.0f %% used)", ErrMemory, percent)
		}
		return write.Probe(ctx)
	}
}

// fullest returns how full the server's memory is, or the fullest master's in a cluster.
func fullest(ctx context.Context, rdb redis.UniversalClient) (percent float64, err error) {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		return fullness(ctx, rdb)
	}
	var mu sync.Mutex // guards percent
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		if p, err := fullness(ctx, node); err == nil {
			mu.Lock()
			defer mu.Unlock()
			percent = max(percent, p)
		}
		return nil // a master that is down does not count
	})
	return percent, err
}

func fullness(ctx context.Context, node redis.Cmdable) (percent float64, err error) {
	info, err := node.Info(ctx, "memory").Result()
	var reply redis.Error
	if redis.IsPermissionError(err) || errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "ERR ") {
		return 0, nil // INFO is not allowed or unknown
	}
	if err != nil {
		return 0, err
	}
	used, limit, policy := parseMemory(info)
	if limit == 0 || strings.HasPrefix(policy, "allkeys-") {
		return 0, nil
	}
	return float64(used) / float64(limit) * 100, nil
}

// parseMemory reads INFO memory; a line that is missing counts as zero.
func parseMemory(info string) (used, limit uint64, policy string) {
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "used_memory":
			used, _ = strconv.ParseUint(value, 10, 64)
		case "maxmemory":
			limit, _ = strconv.ParseUint(value, 10, 64)
		case "maxmemory_policy":
			policy = value
		}
	}
	return used, limit, policy
}
