package worker

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// maxJoined is how many calls are done together at most: who waits for one should not
// wait for all of them.
const maxJoined = 64

// joiner has done together what is asked for at the same time. The first call is done
// at once, and those that come meanwhile share what is done next: none waits for
// others to come. There are goroutines only while there is something to do.
type joiner[T, R any] struct {
	// do does what several callers ask for, and has an answer for each.
	do func(ctx context.Context, list []T) ([]R, error)
	// alone does it for one, where do has failed: one fails, or waits, for itself only.
	alone func(ctx context.Context, item T) (R, error)
	// key tells calls apart: two of the same key are not done together. Where it is nil
	// any are.
	key func(T) string
	// flushers is how many batches are under way at once at most.
	flushers int
	// least is how many calls must wait for another batch to be begun while one is under
	// way: fewer are better off with those that come until it is done.
	least int

	running sync.WaitGroup
	mu      sync.Mutex // guards what follows
	waiting []*joined[T, R]
	active  int // flushers
}

// joined is a call that waits.
type joined[T, R any] struct {
	ctx  context.Context
	item T
	key  string
	// The answer is the caller's once done is closed.
	answer R
	err    error
	done   chan struct{}
}

// call returns once the item is done, or when ctx ends; then it may still be done.
func (j *joiner[T, R]) call(ctx context.Context, item T) (answer R, err error) {
	c := &joined[T, R]{ctx: ctx, item: item, done: make(chan struct{})}
	if j.key != nil {
		c.key = j.key(item)
	}
	j.mu.Lock()
	j.waiting = append(j.waiting, c)
	if j.mayFlush() {
		j.active++
		j.running.Go(j.flush)
	}
	j.mu.Unlock()
	select {
	case <-c.done:
		return c.answer, c.err
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// wait waits for what is under way. There must be no calls any more: what they asked
// for is given up then, unless it is done.
func (j *joiner[T, R]) wait() { j.running.Wait() }

// flush does what waits, until nothing does.
func (j *joiner[T, R]) flush() {
	for {
		batch := j.next()
		if batch == nil {
			return
		}
		j.send(batch)
	}
}

// mayFlush reports whether there is work for one more flusher. j.mu is held.
func (j *joiner[T, R]) mayFlush() bool {
	return len(j.waiting) > 0 && (j.active == 0 || j.active < j.flushers && len(j.waiting) >= j.least)
}

// next takes the calls that wait, as many as can be done together. It returns nil when
// there is nothing for this flusher, and counts it out.
func (j *joiner[T, R]) next() []*joined[T, R] {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.active--
	if !j.mayFlush() {
		return nil
	}
	var batch, later []*joined[T, R]
	taken := make(map[string]bool)
	for _, c := range j.waiting {
		switch {
		case c.ctx.Err() != nil: // its caller has gone
		case len(batch) == maxJoined || taken[c.key]:
			later = append(later, c)
		default:
			taken[c.key] = j.key != nil
			batch = append(batch, c)
		}
	}
	j.waiting = later
	if batch != nil {
		j.active++
	}
	return batch
}

// send does what the calls ask for, and answers them.
func (j *joiner[T, R]) send(batch []*joined[T, R]) {
	answers, err := j.try(batch, j.do)
	if err != nil {
		for _, c := range batch {
			if c.ctx.Err() == nil { // else its caller has gone
				j.running.Go(func() { j.sendAlone(c) })
			}
		}
		return
	}
	for i, c := range batch {
		c.answer = answers[i]
		close(c.done)
	}
}

// sendAlone does what one call asks for, and answers it.
func (j *joiner[T, R]) sendAlone(c *joined[T, R]) {
	answers, err := j.try([]*joined[T, R]{c}, func(ctx context.Context, list []T) ([]R, error) {
		answer, err := j.alone(ctx, list[0])
		return []R{answer}, err
	})
	if c.err = err; err == nil {
		c.answer = answers[0]
	}
	close(c.done)
}

// try has done what the calls ask for. No panic gets out of it: there is no task here
// that it would end.
func (j *joiner[T, R]) try(batch []*joined[T, R], do func(context.Context, []T) ([]R, error)) (answers []R, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	ctx, cancel := lasting(batch)
	defer cancel()
	list := make([]T, len(batch))
	for i, c := range batch {
		list[i] = c.item
	}
	return do(ctx, list)
}

// lasting returns a context that ends when the last of the callers has gone.
func lasting[T, R any](batch []*joined[T, R]) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(batch[0].ctx))
	var left atomic.Int64
	left.Store(int64(len(batch)))
	stops := make([]func() bool, len(batch))
	for i, c := range batch {
		stops[i] = context.AfterFunc(c.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
