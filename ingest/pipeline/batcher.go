package pipeline

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// A pipeline has at most this many commands, and takes none more once they have
	// this many bytes of payload: who waits for one should not wait for all of them.
	maxCommands = 64
	maxBytes    = 256 << 10
)

// errStuck is that there is no room because of commands whose callers have gone: they
// are dropped as soon as a flusher gets to them.
var errStuck = errors.New("no command was sent in the time of many callers: Redis is slow, or does not answer")

// batcher is a Redis client whose EvalSha joins others. Everything else, EVAL after a
// NOSCRIPT also, goes straight through.
type batcher struct {
	redis.UniversalClient
	// busy counts what is under way: pipelines, and lone commands.
	busy  atomic.Int64
	calls chan *call
	// stop tells the flushers to end, and ended is closed when they have.
	stop, ended chan struct{}
	closing     sync.Once
}

// call is an EvalSha that waits.
type call struct {
	ctx  context.Context
	sha  string
	keys []string
	args []any
	// cmd is the answer. It is the caller's once done is closed.
	cmd  *redis.Cmd
	done chan struct{}
}

// newBatcher returns a batcher with room for as many calls to wait.
func newBatcher(rdb redis.UniversalClient, flushers, room int) *batcher {
	b := &batcher{UniversalClient: rdb, calls: make(chan *call, room), stop: make(chan struct{}), ended: make(chan struct{})}
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

// EvalSha overrides that of the client. When its context ends it returns, and the
// command may still be run.
func (b *batcher) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if b.busy.CompareAndSwap(0, 1) {
		defer b.busy.Add(-1)
		return b.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
	c := &call{ctx: ctx, sha: sha, keys: keys, args: args, done: make(chan struct{})}
	select {
	case b.calls <- c:
	default:
		return failed(ctx, errStuck)
	}
	select {
	case <-c.done:
		return c.cmd
	case <-ctx.Done():
		return failed(ctx, ctx.Err())
	case <-b.ended:
	}
	select {
	case <-c.done:
		return c.cmd
	default: // it came when the flushers had looked for the last time
		return b.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
}

func failed(ctx context.Context, err error) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(err)
	return cmd
}

// close ends the flushers when nothing waits any more.
func (b *batcher) close() {
	b.closing.Do(func() { close(b.stop) })
	<-b.ended
}

// flush sends what waits until the batcher is closed.
func (b *batcher) flush() {
	batch := make([]*call, 0, maxCommands)
	for {
		select {
		case c := <-b.calls:
			batch = b.gather(batch[:0], c)
			b.send(batch)
			clear(batch)
		case <-b.stop:
			select {
			case c := <-b.calls:
				b.send(b.gather(batch[:0], c))
			default:
				return
			}
		}
	}
}

// gather appends the call and whichever others wait, without waiting for more. Those
// whose callers have gone are dropped.
func (b *batcher) gather(batch []*call, c *call) []*call {
	for size := 0; ; {
		if c.ctx.Err() == nil {
			batch = append(batch, c)
			size += c.size()
		}
		if len(batch) == maxCommands || size >= maxBytes {
			return batch
		}
		select {
		case c = <-b.calls:
		default:
			return batch
		}
	}
}

// size is about how many bytes the command's arguments have.
func (c *call) size() (n int) {
	for _, arg := range c.args {
		if payload, ok := arg.([]byte); ok {
			n += len(payload)
		}
	}
	return n
}

// send runs the calls and answers them.
func (b *batcher) send(batch []*call) {
	b.busy.Add(1)
	defer b.busy.Add(-1)
	switch len(batch) {
	case 0:
		return
	case 1:
		c := batch[0]
		c.cmd = b.UniversalClient.EvalSha(c.ctx, c.sha, c.keys, c.args...)
	default:
		ctx, cancel := lasting(batch)
		defer cancel()
		pipe := b.Pipeline()
		for _, c := range batch {
			c.cmd = pipe.EvalSha(ctx, c.sha, c.keys, c.args...)
		}
		// It returns the first error only; each command has its own.
		_, _ = pipe.Exec(ctx)
	}
	for _, c := range batch {
		close(c.done)
	}
}

// lasting returns a context that lasts as long as the last of the callers waits. The
// one that goes first must not take the others' answers away.
func lasting(batch []*call) (context.Context, context.CancelFunc) {
	ctx := context.WithoutCancel(batch[0].ctx)
	var last time.Time
	for _, c := range batch {
		deadline, ok := c.ctx.Deadline()
		if !ok {
			return ctx, func() {} // the client's own time-outs are left
		}
		if deadline.After(last) {
			last = deadline
		}
	}
	return context.WithDeadline(ctx, last)
}
