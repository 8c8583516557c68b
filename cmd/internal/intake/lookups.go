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

// lookupsTimeout bounds what a delivery waits for that answer.
const lookupsTimeout = 250 * time.Millisecond

// LookupsOn returns a function that returns why unsigned callbacks are not taken:
// no worker has credentials for Kling. Where Redis cannot be asked it returns what
// is known from before, and lets them come when that is nothing.
//
// While they are taken, none waits for Redis but the first: what is known is asked
// for again beside them. One is refused only by what Redis has just said.
func LookupsOn(rdb redis.UniversalClient) func(context.Context) error {
	l := &lookupsOn{rdb: rdb}
	return l.why
}

type lookupsOn struct {
	rdb redis.UniversalClient

	mu     sync.Mutex // guards what follows
	known  error
	until  time.Time // when known is to be asked for again; zero before the first time
	asking bool      // somebody does
}

func (l *lookupsOn) why(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case time.Now().Before(l.until):
	case l.known != nil || l.until.IsZero():
		l.note(l.ask(ctx))
	case !l.asking:
		l.asking = true
		go func() {
			on, err := l.ask(context.WithoutCancel(ctx))
			l.mu.Lock()
			defer l.mu.Unlock()
			l.asking = false
			l.note(on, err)
		}()
	}
	return l.known
}

func (l *lookupsOn) ask(ctx context.Context) (on bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupsTimeout)
	defer cancel()
	return tasks.LookupsOn(ctx, l.rdb)
}

func (l *lookupsOn) note(on bool, err error) {
	l.until = time.Now().Add(lookupsFresh)
	switch {
	case err != nil: // what is known holds
	case on:
		l.known = nil
	default:
		l.known = errNoLookups
	}
}
