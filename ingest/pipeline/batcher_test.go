package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// hook stands in for Redis: each round trip of script calls takes as long as said, and
// every task is new. What it was sent is kept by round trip.
type hook struct {
	takes time.Duration
	// answer, where set, gives a command's result; nil is success.
	answer func(taskID string) error

	mu    sync.Mutex
	trips [][]string // the tasks of each round trip
	under int        // round trips under way
	most  int        // the most of them at once
}

func (h *hook) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("there is no server") }
}

func (h *hook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { return h.roundTrip(ctx, []redis.Cmder{cmd}) }
}

func (h *hook) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return h.roundTrip
}

func (h *hook) roundTrip(ctx context.Context, cmds []redis.Cmder) error {
	if cmds[0].Name() == "sadd" {
		return nil
	}
	timer := time.NewTimer(h.begin(cmds))
	defer h.end()
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		for _, cmd := range cmds {
			cmd.SetErr(ctx.Err())
		}
		return ctx.Err()
	}
	for _, cmd := range cmds {
		script, ok := cmd.(*redis.Cmd)
		if !ok {
			return fmt.Errorf("unexpected command %s", cmd)
		}
		script.SetVal(int64(1))
		if h.answer != nil {
			if err := h.answer(taskOf(cmd)); err != nil {
				script.SetErr(err)
			}
		}
	}
	return cmds[0].Err()
}

// begin notes a round trip and returns how long it takes.
func (h *hook) begin(cmds []redis.Cmder) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for _, cmd := range cmds {
		ids = append(ids, taskOf(cmd))
	}
	h.trips = append(h.trips, ids)
	h.under++
	h.most = max(h.most, h.under)
	return h.takes
}

func (h *hook) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.under--
}

// sent returns the tasks of each round trip.
func (h *hook) sent() [][]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.trips)
}

// taskOf returns the ID of the task that a command enqueues: evalsha, hash, number of
// keys, two keys, message, ID.
func taskOf(cmd redis.Cmder) string {
	id, _ := cmd.Args()[6].(string)
	return id
}

// newQueue returns a Queue on a stand-in.
func newQueue(t *testing.T, h *hook, change func(*Config)) *Queue {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	rdb.AddHook(h)
	cfg := Config{Redis: rdb}
	if change != nil {
		change(&cfg)
	}
	q := New(cfg)
	t.Cleanup(func() {
		q.Close()
		if err := rdb.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

func task(n int) tasks.Task {
	return tasks.Task{Kind: tasks.KindEventRecord, ID: fmt.Sprintf("event:record:%d", n), Payload: []byte("{}")}
}

// result is how an Enqueue ended, and how long it took.
type result struct {
	err  error
	took time.Duration
}

// enqueue enqueues tasks from..to-1 at the same time, each by its own caller, which
// waits as long as said, and returns how that ended, in the tasks' order.
func enqueue(t *testing.T, q *Queue, from, to int, wait time.Duration) func() []result {
	t.Helper()
	results := make([]result, to-from)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			start := time.Now()
			_, err := q.Enqueue(ctx, task(from+i))
			results[i] = result{err, time.Since(start)}
		})
	}
	return func() []result {
		wg.Wait()
		return results
	}
}

func TestConcurrentEnqueuesShareRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: 10 * time.Millisecond}
		q := newQueue(t, h, func(cfg *Config) { cfg.Flushers = 2 })
		const n = 500
		for i, r := range enqueue(t, q, 0, n, time.Minute)() {
			if r.err != nil {
				t.Errorf("task %d: %v", i, r.err)
			}
		}
		var all []string
		for _, trip := range h.sent() {
			if len(trip) > maxCommands {
				t.Errorf("a pipeline has %d commands, want %d at most", len(trip), maxCommands)
			}
			all = append(all, trip...)
		}
		slices.Sort(all)
		if all = slices.Compact(all); len(all) != n {
			t.Errorf("%d different tasks were sent, want %d", len(all), n)
		}
		// One goes alone, a flusher each may begin with few, and the others are full.
		if most := 1 + 2 + n/maxCommands + 1; len(h.sent()) > most {
			t.Errorf("%d round trips for %d tasks, want %d at most", len(h.sent()), n, most)
		}
		if h.most > 3 {
			t.Errorf("%d round trips at once, want one per flusher and a lone one", h.most)
		}
	})
}

// TestLoneEnqueueIsNotDelayed holds that whoever is alone waits for nothing but Redis,
// and that a second one does not wait for the first.
func TestLoneEnqueueIsNotDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: 10 * time.Millisecond}
		q := newQueue(t, h, nil)
		if r := enqueue(t, q, 0, 1, time.Minute)(); r[0].err != nil || r[0].took != h.takes {
			t.Errorf("alone: %v after %s, want %s", r[0].err, r[0].took, h.takes)
		}
		first := enqueue(t, q, 1, 2, time.Minute)
		synctest.Wait()
		if r := enqueue(t, q, 2, 3, time.Minute)(); r[0].err != nil || r[0].took != h.takes {
			t.Errorf("beside another: %v after %s, want %s", r[0].err, r[0].took, h.takes)
		}
		first()
	})
}

func TestLargePayloadsMakeShortPipelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: 10 * time.Millisecond}
		q := newQueue(t, h, func(cfg *Config) { cfg.Flushers = 1 })
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				large := task(i)
				large.Payload = make([]byte, maxBytes/4)
				if _, err := q.Enqueue(t.Context(), large); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, trip := range h.sent() {
			if len(trip) > 4 {
				t.Errorf("a pipeline has %d commands of %d bytes, want 4 at most", len(trip), maxBytes/4)
			}
		}
	})
}

// TestEachCallerHasItsOwnTime holds that a caller's context is kept to although its
// pipeline takes longer, and that who waits longer gets the answer all the same.
func TestEachCallerHasItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: 100 * time.Millisecond}
		q := newQueue(t, h, func(cfg *Config) { cfg.Flushers = 1 })
		alone := enqueue(t, q, 0, 1, time.Minute)
		synctest.Wait()
		first := enqueue(t, q, 1, 2, time.Minute) // the flusher is busy with it
		synctest.Wait()
		short := enqueue(t, q, 10, 20, 150*time.Millisecond)
		long := enqueue(t, q, 20, 30, 250*time.Millisecond)
		for _, r := range short() {
			if r.err == nil || r.took != 150*time.Millisecond {
				t.Errorf("who allows 150 ms got %v after %s", r.err, r.took)
			}
		}
		for _, r := range slices.Concat(long(), alone(), first()) {
			if r.err != nil {
				t.Errorf("who allows long enough got %v after %s", r.err, r.took)
			}
		}
	})
}

// TestWhoHasGoneIsNotSent holds that a command whose caller has gone before it was
// sent never is.
func TestWhoHasGoneIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: 100 * time.Millisecond}
		q := newQueue(t, h, func(cfg *Config) { cfg.Flushers = 1 })
		busy := enqueue(t, q, 0, 1, time.Minute)
		synctest.Wait()
		busyToo := enqueue(t, q, 1, 2, time.Minute)
		synctest.Wait()
		gone := enqueue(t, q, 10, 20, 50*time.Millisecond)
		stays := enqueue(t, q, 20, 21, time.Minute)
		for _, r := range gone() {
			if r.err == nil {
				t.Error("success without an answer")
			}
		}
		for _, r := range slices.Concat(busy(), busyToo(), stays()) {
			if r.err != nil {
				t.Error(r.err)
			}
		}
		want := [][]string{{task(0).ID}, {task(1).ID}, {task(20).ID}}
		if got := h.sent(); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("sent %v, want %v", got, want)
		}
	})
}

func TestErrorsAreEachTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: time.Millisecond, answer: func(id string) error {
			if id == task(7).ID {
				return errors.New("WRONGTYPE of the test")
			}
			return nil
		}}
		q := newQueue(t, h, nil)
		for i, r := range enqueue(t, q, 0, 20, time.Minute)() {
			if failed := r.err != nil; failed != (i == 7) {
				t.Errorf("task %d: %v", i, r.err)
			}
		}
	})
}

// TestOverload holds that the one too many is refused at once, and that those before
// it are not touched.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: 100 * time.Millisecond}
		q := newQueue(t, h, func(cfg *Config) { cfg.Flushers, cfg.MaxPending = 1, 10 })
		pending := enqueue(t, q, 0, 10, time.Minute)
		synctest.Wait()
		for _, r := range enqueue(t, q, 10, 15, time.Minute)() {
			if !errors.Is(r.err, tasks.ErrOverloaded) || r.took != 0 {
				t.Errorf("got %v after %s, want %v at once", r.err, r.took, tasks.ErrOverloaded)
			}
		}
		for _, r := range pending() {
			if r.err != nil {
				t.Error(r.err)
			}
		}
		if r := enqueue(t, q, 20, 21, time.Minute)(); r[0].err != nil {
			t.Errorf("after the overload: %v", r[0].err)
		}
	})
}

// TestHungRedis holds that callers are answered in their time, again and again, and
// that what they leave behind takes up no room for good.
func TestHungRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: time.Hour}
		q := newQueue(t, h, func(cfg *Config) { cfg.Flushers, cfg.MaxPending = 2, 100 })
		for round := range 5 {
			for _, r := range enqueue(t, q, 100*round, 100*round+100, 250*time.Millisecond)() {
				if r.err == nil || errors.Is(r.err, tasks.ErrOverloaded) {
					t.Errorf("round %d: %v", round, r.err)
				}
				if r.took > 250*time.Millisecond {
					t.Errorf("round %d: answered after %s, want 250ms at most", round, r.took)
				}
			}
		}
		h.mu.Lock()
		h.takes = time.Millisecond
		h.mu.Unlock()
		synctest.Wait()
		for _, r := range enqueue(t, q, 1000, 1100, 250*time.Millisecond)() {
			if r.err != nil {
				t.Errorf("after it: %v", r.err)
			}
		}
	})
}

func TestCloseSendsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: 10 * time.Millisecond}
		q := newQueue(t, h, func(cfg *Config) { cfg.Flushers = 1 })
		waiting := enqueue(t, q, 0, 200, time.Minute)
		synctest.Wait()
		q.Close()
		q.Close()
		for _, r := range waiting() {
			if r.err != nil {
				t.Error(r.err)
			}
		}
		for _, r := range enqueue(t, q, 200, 210, time.Minute)() {
			if r.err != nil {
				t.Errorf("after Close: %v", r.err)
			}
		}
	})
}
