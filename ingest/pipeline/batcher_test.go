package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
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
	// answer, where set, gives the result of a call with these tasks; nil is success.
	answer func(taskIDs []string) error

	mu    sync.Mutex
	trips [][]string // the tasks of each round trip
	under int        // round trips under way
	most  int        // the most of them at once
}

func (h *hook) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("there is no server") }
}

func (h *hook) ProcessHook(redis.ProcessHook) redis.ProcessHook { return h.roundTrip }

func (h *hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *hook) roundTrip(ctx context.Context, cmd redis.Cmder) error {
	if cmd.Name() == "sadd" {
		return nil
	}
	ids := tasksOf(cmd)
	timer := time.NewTimer(h.begin(ids))
	defer h.end()
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		cmd.SetErr(ctx.Err())
		return ctx.Err()
	}
	script, ok := cmd.(*redis.Cmd)
	if !ok {
		return fmt.Errorf("unexpected command %s", cmd)
	}
	answers := make([]any, len(ids))
	for i := range answers {
		answers[i] = int64(1)
	}
	script.SetVal(answers)
	if h.answer != nil {
		script.SetErr(h.answer(ids))
	}
	return script.Err()
}

// begin notes a round trip and returns how long it takes.
func (h *hook) begin(ids []string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
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

// tasksOf returns the IDs of the tasks that a script call enqueues: evalsha, hash,
// number of keys, the keys, the time, and then the message and the ID of each.
func tasksOf(cmd redis.Cmder) (ids []string) {
	args := cmd.Args()
	keys, _ := args[2].(int)
	for i := 3 + keys + 2; i < len(args); i += 2 {
		id, _ := args[i].(string)
		ids = append(ids, id)
	}
	return ids
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
			if len(trip) > maxTasks {
				t.Errorf("a batch has %d tasks, want %d at most", len(trip), maxTasks)
			}
			all = append(all, trip...)
		}
		slices.Sort(all)
		if all = slices.Compact(all); len(all) != n {
			t.Errorf("%d different tasks were sent, want %d", len(all), n)
		}
		// One goes alone, a flusher each may begin with few, and the others are full.
		if most := 1 + 2 + n/maxTasks + 1; len(h.sent()) > most {
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

// TestErrorIsOfItsBatch holds that a batch that fails is an error to those in it, and
// to nobody else.
func TestErrorIsOfItsBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: time.Millisecond, answer: func(ids []string) error {
			if slices.Contains(ids, task(7).ID) {
				return errors.New("OOM of the test")
			}
			return nil
		}}
		q := newQueue(t, h, func(cfg *Config) { cfg.Flushers = 1 })
		results := enqueue(t, q, 0, 200, time.Minute)()
		for _, trip := range h.sent() {
			isBad := slices.Contains(trip, task(7).ID)
			for _, id := range trip {
				n, err := strconv.Atoi(strings.TrimPrefix(id, "event:record:"))
				if err != nil {
					t.Fatal(err)
				}
				if failed := results[n].err != nil; failed != isBad {
					t.Errorf("task %d, in a batch with the bad one: %t: %v", n, isBad, results[n].err)
				}
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
