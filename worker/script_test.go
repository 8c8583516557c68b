package worker

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
)

// firstHeld holds the first command to a Redis until it is let go on, and notes how
// many scripts each pipeline has.
type firstHeld struct {
	sync.Once
	held, release chan struct{}
	pipelines     []int // written by one flusher at a time
}

func (*firstHeld) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *firstHeld) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.Do(func() { close(h.held); <-h.release })
		return next(ctx, cmd)
	}
}

func (h *firstHeld) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "evalsha" { // else it is how go-redis greets a server
			h.pipelines = append(h.pipelines, len(cmds))
		}
		return next(ctx, cmds)
	}
}

// newHeld returns a client whose first command is held.
func newHeld(rdb *redis.Client) (*fetchClient, *firstHeld) {
	h := &firstHeld{held: make(chan struct{}), release: make(chan struct{})}
	rdb.AddHook(h)
	return newFetchClient(rdb), h
}

// TestScriptsShareARoundTrip holds that scripts that are run at the same time go to
// Redis together, in their order, and that each gets its own answer: also one that
// fails, one that Redis does not know yet, and one whose caller has gone.
func TestScriptsShareARoundTrip(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: testenv.Redis(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	load := func(script string) string {
		sha, err := rdb.ScriptLoad(t.Context(), script).Result()
		if err != nil {
			t.Fatal(err)
		}
		return sha
	}
	push, fail := load(`redis.call("RPUSH", KEYS[1], ARGV[1]) return ARGV[1]`), load(`return redis.error_reply("REFUSED by the script")`)
	c, hook := newHeld(rdb)
	defer c.close()

	gone, leave := context.WithCancel(t.Context())
	calls := []struct {
		ctx       context.Context
		sha, arg  string
		want, err string
	}{
		{t.Context(), push, "alone", "alone", ""},
		{t.Context(), push, "first", "first", ""},
		{t.Context(), fail, "", "", "REFUSED by the script"},
		{gone, push, "of one who has gone", "", context.Canceled.Error()},
		{t.Context(), strings.Repeat("0", 40), "", "", "NOSCRIPT"},
		{t.Context(), push, "last", "last", ""},
	}
	var running sync.WaitGroup
	for i, call := range calls {
		running.Go(func() {
			got, err := c.EvalSha(call.ctx, call.sha, []string{"list"}, call.arg).Text()
			if got != call.want || (err == nil) != (call.err == "") || err != nil && !strings.Contains(err.Error(), call.err) {
				t.Errorf("script with %q answered %q, %v; want %q, %q", call.arg, got, err, call.want, call.err)
			}
			if call.err == "NOSCRIPT" && !redis.HasErrorPrefix(err, "NOSCRIPT") {
				t.Errorf("%v is not what has asynq send the script itself", err)
			}
		})
		hook.awaitWaiting(t, c, i)
	}
	leave()
	close(hook.release)
	running.Wait()
	c.scripts.wait()
	if diff := cmp.Diff([]int{len(calls) - 2}, hook.pipelines); diff != "" {
		t.Errorf("pipelines' scripts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"alone", "first", "last"}, rdb.LRange(t.Context(), "list", 0, -1).Val()); diff != "" {
		t.Errorf("what ran (-want +got):\n%s", diff)
	}
}

// TestScriptsWithoutRedis holds that every script of a round trip that fails says so.
func TestScriptsWithoutRedis(t *testing.T) {
	gone := errors.New("Redis has gone")
	rdb := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", MaxRetries: -1,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, gone },
	})
	t.Cleanup(func() { _ = rdb.Close() })
	c, hook := newHeld(rdb)
	defer c.close()
	var running sync.WaitGroup
	for i := range 3 {
		running.Go(func() {
			if err := c.EvalSha(t.Context(), "sha", []string{"list"}).Err(); !errors.Is(err, gone) {
				t.Errorf("script %d: %v, want %v", i, err, gone)
			}
		})
		hook.awaitWaiting(t, c, i)
	}
	close(hook.release)
	running.Wait()
}

// awaitWaiting returns when the first script is held and n more wait for it.
func (h *firstHeld) awaitWaiting(t *testing.T, c *fetchClient, n int) {
	t.Helper()
	<-h.held
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		c.scripts.mu.Lock()
		waiting := len(c.scripts.waiting)
		c.scripts.mu.Unlock()
		switch {
		case waiting == n:
			return
		case time.Now().After(deadline):
			t.Fatalf("%d scripts wait, want %d", waiting, n)
		}
	}
}
