package intake

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// fakeExists answers every command in the place of Redis: with a number, or, below
// zero, not at all.
type fakeExists struct{ n int64 }

func (f *fakeExists) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *fakeExists) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (f *fakeExists) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if f.n < 0 {
			<-ctx.Done()
			cmd.SetErr(ctx.Err())
			return ctx.Err()
		}
		exists, ok := cmd.(*redis.IntCmd)
		if !ok {
			return errors.New("want EXISTS")
		}
		exists.SetVal(f.n)
		return nil
	}
}

// TestLookupsOn holds that a Redis that hangs costs unsigned callbacks nothing once it
// has answered, and that one is refused only by what Redis says then.
func TestLookupsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Dialer: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("there is no network here")
		}})
		defer func() { _ = rdb.Close() }()
		answer := &fakeExists{n: 1}
		rdb.AddHook(answer)
		why := LookupsOn(rdb)
		asks := func(name string, want error) {
			t.Helper()
			began := time.Now()
			if err := why(t.Context()); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("%s: a delivery waited for %v", name, took)
			}
			synctest.Wait()
		}
		asks("on", nil)
		time.Sleep(lookupsFresh)
		answer.n = -1
		asks("Redis hangs", nil)
		asks("Redis hangs still", nil)
		time.Sleep(lookupsFresh + lookupsTimeout)
		answer.n = 0
		asks("off, and not known yet", nil)
		asks("off", errNoLookups)
		time.Sleep(lookupsFresh)
		answer.n = 1
		asks("on again", nil)
	})
}
