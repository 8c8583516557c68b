package pipeline

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// A batch has at most this many tasks, and takes none more once they have this many
	// bytes: who waits for one should not wait for all of them.
	maxTasks = 64
	maxBytes = 256 << 10
)

// errStuck is that there is no room because of calls whose callers have gone: they are
// dropped as soon as a flusher gets to them.
var errStuck = errors.New("no task was sent in the time of many callers: Redis is slow, or does not answer")

// batcher enqueues the tasks of one queue, those that come at the same time together.
type batcher struct {
	bulk *tasks.Bulk
	// limit, where set, is how long a caller waits at most.
	limit time.Duration
	// timers are stopped: to make one costs as much as the rest of a call.
	timers sync.Pool
	// busy counts what is under way: batches, and lone tasks.
	busy  atomic.Int64
	calls chan *call
	// turn has a place, which the flusher that waits for calls takes.
	turn chan struct{}
	// stop tells the flushers to end, and ended is closed when they have.
	stop, ended chan struct{}
	closing     sync.Once
}

// call is a task that waits.
type call struct {
	ctx     context.Context
	message tasks.Message
	// until is when its caller stops waiting; zero where it never does.
	until time.Time
	// The answer is the caller's once done is closed.
	duplicate bool
	err       error
	done      chan struct{}
}

// newBatcher returns a batcher with room for as many calls to wait.
func newBatcher(bulk *tasks.Bulk, limit time.Duration, flushers, room int) *batcher {
	b := &batcher{bulk: bulk, limit: limit, calls: make(chan *call, room), turn: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	var wg sync.WaitGroup
	for range flushers {
		wg.Go(b.flush)
	}
	go func() {
		defer close(b.ended)
		wg.Wait()
	}()
	return b
}

// enqueue returns once the task is in Redis. At the end of its time it returns, and the
// task may still be enqueued.
func (b *batcher) enqueue(ctx context.Context, m tasks.Message) (duplicate bool, err error) {
	c := &call{ctx: ctx, message: m, until: b.until(ctx)}
	if b.busy.CompareAndSwap(0, 1) {
		defer b.busy.Add(-1)
		return b.alone(c)
	}
	c.done = make(chan struct{})
	select {
	case b.calls <- c:
	default:
		return false, errStuck
	}
	timeout, stop := b.timerAt(c.until)
	defer stop()
	select {
	case <-c.done:
		return c.duplicate, c.err
	case <-timeout:
		return false, context.DeadlineExceeded
	case <-b.ended:
	}
	select {
	case <-c.done:
		return c.duplicate, c.err
	default: // it came when the flushers had looked for the last time
		return b.alone(c)
	}
}

// until is when who calls now stops waiting; zero for never.
func (b *batcher) until(ctx context.Context) time.Time {
	until, ok := ctx.Deadline()
	if b.limit == 0 {
		return until
	}
	if limit := time.Now().Add(b.limit); !ok || limit.Before(until) {
		return limit
	}
	return until
}

// timerAt returns a channel on which something comes at a time, and what gives it
// back; for no time, nothing ever does.
func (b *batcher) timerAt(at time.Time) (c <-chan time.Time, stop func()) {
	if at.IsZero() {
		return nil, func() {}
	}
	timer, ok := b.timers.Get().(*time.Timer)
	if ok {
		timer.Reset(time.Until(at))
	} else {
		timer = time.NewTimer(time.Until(at))
	}
	return timer.C, func() {
		timer.Stop() // and nothing comes on its channel any more
		b.timers.Put(timer)
	}
}

func (b *batcher) alone(c *call) (duplicate bool, err error) {
	ctx, cancel := lasting(c)
	defer cancel()
	duplicates, err := b.bulk.Enqueue(ctx, []tasks.Message{c.message})
	return err == nil && duplicates[0], err
}

// close ends the flushers when nothing waits any more.
func (b *batcher) close() {
	b.closing.Do(func() { close(b.stop) })
	<-b.ended
}

// flush sends what waits until the batcher is closed.
func (b *batcher) flush() {
	batch := make([]*call, 0, maxTasks)
	for {
		var ok bool
		if batch, ok = b.next(batch[:0]); !ok {
			return
		}
		b.send(batch)
		clear(batch)
	}
}

// next waits for a call and takes those that are there with it. One flusher does so at
// a time: were all to wait, each would be woken for a call of its own. It returns false
// when the batcher is closed and nothing waits.
func (b *batcher) next(batch []*call) ([]*call, bool) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	var first *call
	select {
	case first = <-b.calls:
	case <-b.stop:
		select {
		case first = <-b.calls:
		default:
			return nil, false
		}
	}
	// Who is about to call may do so first. Where nobody is, that takes no time.
	runtime.Gosched()
	return b.gather(batch, first), true
}

// gather appends the call and whichever others wait, without waiting for more. Those
// whose callers have gone are dropped.
func (b *batcher) gather(batch []*call, c *call) []*call {
	now := time.Now()
	for size := 0; ; {
		if c.until.IsZero() || now.Before(c.until) {
			batch = append(batch, c)
			size += len(c.message.Encoded)
		}
		if len(batch) == maxTasks || size >= maxBytes {
			return batch
		}
		select {
		case c = <-b.calls:
		default:
			return batch
		}
	}
}

// send enqueues the tasks and answers their callers.
func (b *batcher) send(batch []*call) {
	if len(batch) == 0 {
		return
	}
	b.busy.Add(1)
	defer b.busy.Add(-1)
	ctx, cancel := lasting(batch...)
	defer cancel()
	list := make([]tasks.Message, len(batch))
	for i, c := range batch {
		list[i] = c.message
	}
	duplicates, err := b.bulk.Enqueue(ctx, list)
	for i, c := range batch {
		c.duplicate, c.err = err == nil && duplicates[i], err
		close(c.done)
	}
}

// lasting returns a context that lasts as long as the last of the callers waits. The
// one that goes first must not take the others' answers away.
func lasting(batch ...*call) (context.Context, context.CancelFunc) {
	ctx := context.WithoutCancel(batch[0].ctx)
	var last time.Time
	for _, c := range batch {
		if c.until.IsZero() {
			return ctx, func() {} // the client's own time-outs are left
		}
		if c.until.After(last) {
			last = c.until
		}
	}
	return context.WithDeadline(ctx, last)
}
