package worker

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

// fakeQueue stands in for a Redis with one queue.
type fakeQueue struct {
	mu      sync.Mutex
	pending int
	paused  bool
	err     error
	// filled is closed, and made anew, when something is pushed.
	filled chan struct{}
	// fetches and listens count what Redis was asked.
	fetches, listens atomic.Int64
}

func (q *fakeQueue) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("there is no server") }
}

func (q *fakeQueue) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (q *fakeQueue) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		var err error
		switch cmd.Name() {
		case "evalsha":
			q.fetches.Add(1)
			err = q.take()
		case "blmove":
			q.listens.Add(1)
			timeout := longListen
			if deadline, ok := ctx.Deadline(); ok {
				timeout = time.Until(deadline) - listenGrace
			}
			err = q.await(timeout)
		}
		cmd.SetErr(err)
		return err
	}
}

func (q *fakeQueue) take() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.err != nil:
		return q.err
	case q.pending == 0 || q.paused:
		return redis.Nil
	}
	q.pending--
	return nil
}

func (q *fakeQueue) await(timeout time.Duration) error {
	q.mu.Lock()
	err, pending, filled := q.err, q.pending, q.filled
	q.mu.Unlock()
	if err != nil || pending > 0 {
		return err
	}
	select {
	case <-filled:
		return nil
	case <-time.After(timeout):
		return redis.Nil
	}
}

func (q *fakeQueue) push(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending += n
	close(q.filled)
	q.filled = make(chan struct{})
}

// newFetch returns a client on a stand-in, and a function that fetches as asynq does.
func newFetch(t *testing.T, q *fakeQueue) (*fetchClient, func() error) {
	t.Helper()
	c := newFetchOn(t, q, 0)
	return c, func() error {
		return c.EvalSha(t.Context(), "sha", []string{tasks.PendingKey(tasks.QueueEvents), "paused", "active", "lease"}).Err()
	}
}

// newFetchOn returns a client on a stand-in, with so many connections; 0 is the default.
func newFetchOn(t *testing.T, q *fakeQueue, connections int) *fetchClient {
	t.Helper()
	q.filled = make(chan struct{})
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, PoolSize: connections})
	rdb.AddHook(q)
	c := newFetchClient(rdb)
	t.Cleanup(func() {
		if !c.stopped() {
			c.close()
		}
		_ = rdb.Close()
	})
	return c
}

// TestListenersLeaveConnections holds that many shards do not take all connections to
// listen: those that find none left are asked seldom, and what comes there is found soon.
func TestListenersLeaveConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{}
		c := newFetchOn(t, q, 8)
		var got atomic.Int64
		for _, queue := range tasks.EventQueues(12) {
			go func() {
				for !c.stopped() {
					if err := c.EvalSha(t.Context(), "sha", []string{tasks.PendingKey(queue), "paused", "active", "lease"}).Err(); err == nil {
						got.Add(1)
					}
					time.Sleep(askAgain)
				}
			}()
		}
		synctest.Wait()
		if n := len(c.slots); n != 4 {
			t.Errorf("%d of 8 connections listen, want half of them", n)
		}
		time.Sleep(10 * time.Second)
		if n := q.fetches.Load(); n > 12+8*41 {
			t.Errorf("12 empty shards were asked %d times in 10 s", n)
		}
		q.push(12)
		time.Sleep(troubleRest + askAgain)
		if n := got.Load(); n != 12 {
			t.Errorf("%d of 12 were fetched %v later", n, troubleRest)
		}
		c.close()
	})
}

// TestFetchWaitsForWork holds that an empty queue is not asked for, and that what comes
// is there at once, for one of all who wait.
func TestFetchWaitsForWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{}
		_, fetch := newFetch(t, q)
		var returned atomic.Int64
		for range 4 {
			go func() {
				_ = fetch()
				returned.Add(1)
			}()
		}
		time.Sleep(time.Hour)
		if n := returned.Load(); n > 0 {
			t.Errorf("%d of 4 returned from an empty queue", n)
		}
		if n := q.fetches.Load(); n != 4 {
			t.Errorf("an empty queue was asked %d times by 4, want once by each", n)
		}
		if n, most := q.listens.Load(), int64(time.Hour/longListen)+4; n > most {
			t.Errorf("it was listened to %d times in an hour, want %d at most", n, most)
		}
		start := time.Now()
		q.push(1)
		synctest.Wait()
		if n, took := returned.Load(), time.Since(start); n != 4 || took > 0 {
			t.Errorf("%d of 4 returned %v after there was something", n, took)
		}
		if err := fetch(); err != nil {
			t.Errorf("got %v, want the task", err)
		}
	})
}

// TestFetchLeavesPausedQueueAlone holds that a queue which has something that nobody
// may have is asked for seldom.
func TestFetchLeavesPausedQueueAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{paused: true, pending: 1}
		c, fetch := newFetch(t, q)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for !c.stopped() {
				if err := fetch(); err == nil {
					return
				}
				time.Sleep(askAgain)
			}
		}()
		time.Sleep(10 * time.Second)
		if n := q.fetches.Load(); n > 60 {
			t.Errorf("a paused queue was asked %d times in 10 s", n)
		}
		q.mu.Lock()
		q.paused = false
		q.mu.Unlock()
		start := time.Now()
		<-ended
		if took := time.Since(start); took > troubleRest+askAgain {
			t.Errorf("it was fetched from %v after the pause", took)
		}
	})
}

// TestFetchLeavesBrokenRedisAlone holds that errors, after which asynq asks again at
// once, do not become a tight loop.
func TestFetchLeavesBrokenRedisAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{err: errors.New("NOAUTH of the test")}
		c, fetch := newFetch(t, q)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for !c.stopped() {
				_ = fetch()
			}
		}()
		time.Sleep(10 * time.Second)
		if n := q.fetches.Load(); n > 41 {
			t.Errorf("a Redis that refuses was asked %d times in 10 s", n)
		}
		start := time.Now()
		c.close()
		<-ended
		if took := time.Since(start); took > 0 {
			t.Errorf("the loop ended %v after the stop", took)
		}
	})
}

// TestFetchStops holds that who waits is let go at once, and that a worker which has
// just worked is rid of its listeners soon.
func TestFetchStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, fetch := newFetch(t, &fakeQueue{})
		start := time.Now()
		var waiting sync.WaitGroup
		for range 4 {
			waiting.Go(func() {
				_ = fetch()
				if took := time.Since(start); took > 0 {
					t.Errorf("let go after %v, want at once", took)
				}
			})
		}
		synctest.Wait()
		c.close()
		waiting.Wait()
		if took := time.Since(start); took > shortListen {
			t.Errorf("it took %v to stop, want %v at most", took, shortListen)
		}
		if err := fetch(); !errors.Is(err, redis.Nil) {
			t.Errorf("after the stop: %v", err)
		}
	})
}

// TestOtherScriptsPass holds that only asynq's fetching waits.
func TestOtherScriptsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{}
		c, _ := newFetch(t, q)
		for _, keys := range [][]string{nil, {"a"}, {"a", "b", "c", "d"}, {tasks.PendingKey(tasks.QueueEvents)}} {
			if err := c.EvalSha(t.Context(), "sha", keys).Err(); !errors.Is(err, redis.Nil) {
				t.Errorf("keys %q: %v", keys, err)
			}
		}
		if n := q.listens.Load(); n > 0 {
			t.Errorf("listened %d times", n)
		}
	})
}
