package intake

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

// lookupsFresh is how long an answer of Redis about look-ups holds.
const lookupsFresh = 5 * time.Second

// errNoLookups is why an unsigned callback is not taken: nobody would ever ask Kling
// what is true of it.
var errNoLookups = errors.New("no worker asks Kling about jobs; give the workers KLINGAI_API_KEY")

// LookupsOn returns a function that returns why unsigned callbacks are not taken:
// no worker has credentials for Kling. Where Redis cannot be asked it returns what
// is known from before, and lets them come when that is nothing.
func LookupsOn(rdb redis.UniversalClient) func(context.Context) error {
	var mu sync.Mutex // guards what follows
	var known error
	var until time.Time
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if time.Now().Before(until) {
			return known
		}
		ctx, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
		defer cancel()
		on, err := tasks.LookupsOn(ctx, rdb)
		until = time.Now().Add(lookupsFresh)
		if err == nil {
			known = nil
			if !on {
				known = errNoLookups
			}
		}
		return known
	}
}
