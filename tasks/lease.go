package tasks

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// extendLease acquires or extends a lease, unless another process has it.
//
// KEYS: the lease. ARGV: the process, milliseconds.
var extendLease = redis.NewScript(`
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1`)

// AcquireLease acquires or extends a lease in Redis, and reports whether this process has it.
// holder identifies the process.
func AcquireLease(ctx context.Context, rdb redis.UniversalClient, lease, holder string, length time.Duration) (mine bool, err error) {
	mine, err = extendLease.Run(ctx, rdb, []string{lease}, holder, length.Milliseconds()).Bool()
	if err != nil {
		return false, fmt.Errorf("acquire lease %s: %w", lease, err)
	}
	return mine, nil
}
