package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// lookupsFresh is how long an answer from Redis is reused.
	lookupsFresh = 5 * time.Second
	// lookupsTimeout limits how long a delivery waits for one.
	lookupsTimeout = 250 * time.Millisecond
)

// errNoLookups means that no worker would ask Kling about an unsigned callback.
var errNoLookups = errors.New("no worker asks Kling about jobs; set KLINGAI_API_KEY for the workers")

// LookupsOn returns a function for [Endpoint.Open] that fails if no worker has credentials
// for Kling. While Redis is down, its last answer counts; without one, callbacks are
// accepted.
func LookupsOn(rdb redis.UniversalClient) func(context.Context) error {
	var mu sync.Mutex // guards known and until
	var known error
	var until time.Time
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if time.Now().Before(until) {
			return known
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupsTimeout)
		defer cancel()
		on, err := tasks.LookupsOn(ctx, rdb)
		switch {
		case err != nil: // known stays
		case on:
			known = nil
		default:
			known = errNoLookups
		}
		until = time.Now().Add(lookupsFresh)
		return known
	}
}
