package spool

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

const (
	// Redis refuses writes, a worker's own among them, at 100 % of maxmemory. Events
	// stop at memoryHigh percent, so that workers can still empty the queue, and go
	// on at memoryLow, so that there is room for some.
	memoryHigh = 90
	memoryLow  = 85
)

// MemoryProbe returns a function for [QueueConfig.Healthy]. Its error says that
// Redis uses 90 % or more of its memory limit, until that has fallen below 85 %, or
// that Redis does not answer. Without a limit, or with an eviction policy of
// "allkeys-…" (which loses tasks, whoever is careful), and where INFO is not to be
// had, it passes.
//
// In a cluster it goes by the fullest of the masters that answer: the queues lie on
// different ones, and a queue that cannot be emptied fills up.
func MemoryProbe(rdb redis.UniversalClient) func(context.Context) error {
	var high atomic.Bool
	return func(ctx context.Context) error {
		fullest, err := fullestOf(ctx, rdb)
		if err != nil {
			return fmt.Errorf("ask Redis for its memory: %w", err)
		}
		threshold := float64(memoryHigh)
		if high.Load() {
			threshold = memoryLow
		}
		high.Store(fullest.percent >= threshold)
		if fullest.percent >= threshold {
			return fmt.Errorf("memory of Redis is %.0f %% full, of %d bytes: raise maxmemory, or let the workers catch up", fullest.percent, fullest.limit)
		}
		return nil
	}
}

// fullness is how much of its memory limit a Redis uses; zero without a limit that
// matters.
type fullness struct {
	percent float64
	limit   uint64
}

// fullestOf returns the fullness of a server, or of the fullest master.
func fullestOf(ctx context.Context, rdb redis.UniversalClient) (fullness, error) {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		return fullnessOf(ctx, rdb)
	}
	var mu sync.Mutex // guards fullest
	var fullest fullness
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		f, err := fullnessOf(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		if err == nil && f.percent > fullest.percent {
			fullest = f
		}
		return nil // whether events are taken shows when they are
	})
	return fullest, err
}

func fullnessOf(ctx context.Context, node redis.Cmdable) (fullness, error) {
	info, err := node.Info(ctx, "memory").Result()
	if refused(err) {
		return fullness{}, nil
	}
	if err != nil {
		return fullness{}, err
	}
	used, limit, policy := parseMemory(info)
	if limit == 0 || strings.HasPrefix(policy, "allkeys-") {
		return fullness{}, nil
	}
	return fullness{percent: float64(used) / float64(limit) * 100, limit: limit}, nil
}

// refused reports whether Redis is there but does not answer INFO: the user may not
// ask, or a provider has taken the command away.
func refused(err error) bool {
	var reply redis.Error
	return redis.IsPermissionError(err) || errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "ERR ")
}

// parseMemory reads the lines that matter of INFO memory; what is not there is
// zero.
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
