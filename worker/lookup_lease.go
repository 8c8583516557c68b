package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

// lookupLeaseTime is how soon another worker may take over from one that has died.
const lookupLeaseTime = 30 * time.Second

// extendLease takes the lease, or extends it for who has it already.
//
// KEYS: the lease. ARGV: the holder, milliseconds.
const extendLease = `
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1`

// inTurn asks about what is due if this worker has the lease.
func (q *inquirer) inTurn(ctx context.Context) error {
	// The lease is kept while Kling is left alone, too: it tells that somebody asks.
	mine, err := q.takeLease(ctx)
	if err != nil || !mine {
		return err
	}
	if err := tasks.NoteLookups(ctx, q.w.cfg.Redis); err != nil {
		return err
	}
	if q.w.cfg.Now().Before(q.quietUntil) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { q.keepLease(ctx, cancel) })
	err = q.ask(ctx)
	if ctx.Err() != nil {
		err = nil // another worker goes on, or this one is shut down
	}
	cancel()
	keeper.Wait()
	return err
}

// takeLease takes the lease or extends it; mine is false when another worker has it.
func (q *inquirer) takeLease(ctx context.Context) (mine bool, err error) {
	mine, err = redis.NewScript(extendLease).Run(ctx, q.w.cfg.Redis, []string{tasks.LookupLease}, q.name, lookupLeaseTime.Milliseconds()).Bool()
	if err != nil {
		return false, fmt.Errorf("take turn: %w", err)
	}
	return mine, nil
}

// keepLease extends the lease until ctx ends, however long Kling's answers take. It
// ends ctx itself when that fails for so long that another worker may have it.
func (q *inquirer) keepLease(ctx context.Context, lose context.CancelFunc) {
	tick := time.NewTicker(lookupLeaseTime / 6)
	defer tick.Stop()
	for kept := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch mine, err := q.takeLease(ctx); {
		case mine:
			kept = time.Now()
		case err == nil, time.Since(kept) > lookupLeaseTime/2:
			lose()
			return
		}
	}
}
