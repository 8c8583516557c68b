package ingest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/ingest"
)

// fakeLookups is a Redis that reports whether a worker asks Kling, or fails.
type fakeLookups struct {
	redis.UniversalClient
	on  int64
	err error
}

func (r *fakeLookups) Exists(ctx context.Context, _ ...string) *redis.IntCmd {
	cmd := redis.NewIntCmd(ctx)
	cmd.SetVal(r.on)
	cmd.SetErr(r.err)
	return cmd
}

func TestUnsignedCallbacksNeedAWorkerWithLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := &fakeLookups{err: errors.New("connection refused")}
		open := ingest.LookupsOn(rdb)
		for _, step := range []struct {
			name    string
			on      int64
			err     error
			refused bool
		}{
			{"accepted while nothing is known", 0, rdb.err, false},
			{"refused without a worker", 0, nil, true},
			{"still refused while Redis is down", 0, rdb.err, true},
			{"accepted with a worker", 1, nil, false},
			{"still accepted while Redis is down", 0, rdb.err, false},
		} {
			rdb.on, rdb.err = step.on, step.err
			err := open(t.Context())
			if (err != nil) != step.refused || err != nil && !strings.Contains(err.Error(), "KLINGAI_API_KEY") {
				t.Errorf("%s: %v", step.name, err)
			}
			rdb.on, rdb.err = 1-step.on, nil
			if again := open(t.Context()); again != err { //nolint:errorlint // the same error value
				t.Errorf("%s: Redis was asked again at once: %v", step.name, again)
			}
			time.Sleep(5 * time.Second)
		}
	})
}
