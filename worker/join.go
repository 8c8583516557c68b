package worker

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// maxJoined is how many calls share a transaction at most: who waits for one should
// not wait for all of them.
const maxJoined = 64

// joiner has done together what is asked for at the same time. The first call is done
// at once, and those that come meanwhile share what is done next: none waits for
// others to come. There are goroutines only while there is something to do.
type joiner[T, R any] struct {
	// do does what several callers ask for, and has an answer for each. Where it fails,
	// it is asked again for each of them alone: one of them fails for itself only.
	do func(ctx context.Context, list []T) ([]R, error)
	// key tells calls apart: two of the same key are not done together.
	key func(T) string
	// flushers is how many batches are under way at once at most.
	flushers int

	running sync.WaitGroup
	mu      sync.Mutex // guards what follows
	waiting []*joined[T, R]
	active  int // flushers
}

// joined is a call that waits.
type joined[T, R any] struct {
	ctx  context.Context
	item T
	// The answer is the caller's once done is closed.
	answer R
	err    error
	done   chan struct{}
}

func newJoiner[T, R any](flushers int, key func(T) string, do func(context.Context, []T) ([]R, error)) *joiner[T, R] {
	return &joiner[T, R]{do: do, key: key, flushers: flushers}
}

// call returns once the item is done, or when ctx ends; then it may still be done.
func (j *joiner[T, R]) call(ctx context.Context, item T) (answer R, err error) {
	c := &joined[T, R]{ctx: ctx, item: item, done: make(chan struct{})}
	j.mu.Lock()
	j.waiting = append(j.waiting, c)
	if j.active < j.flushers {
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

// next takes the calls that wait, as many as can be done together. It returns nil when
// there is none, and counts the flusher out.
func (j *joiner[T, R]) next() []*joined[T, R] {
	j.mu.Lock()
	defer j.mu.Unlock()
	var batch, later []*joined[T, R]
	keys := make(map[string]bool, len(j.waiting))
	for _, c := range j.waiting {
		key := j.key(c.item)
		switch {
		case c.ctx.Err() != nil: // its caller has gone
		case len(batch) == maxJoined || keys[key]:
			later = append(later, c)
		default:
			keys[key] = true
			batch = append(batch, c)
		}
	}
	j.waiting = later
	if batch == nil {
		j.active--
	}
	return batch
}

// send does what the calls ask for, and answers them.
func (j *joiner[T, R]) send(batch []*joined[T, R]) {
	answers, err := j.try(batch)
	if err != nil && len(batch) > 1 {
		for _, c := range batch {
			j.send([]*joined[T, R]{c})
		}
		return
	}
	for i, c := range batch {
		if c.err = err; err == nil {
			c.answer = answers[i]
		}
		close(c.done)
	}
}

// try does what the calls ask for, in a context that lasts until the last of their
// callers has gone. No panic gets out of it: there is no task here that it would end.
func (j *joiner[T, R]) try(batch []*joined[T, R]) (answers []R, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	ctx, cancel := context.WithCancel(context.WithoutCancel(batch[0].ctx))
	defer cancel()
	var left atomic.Int64
	left.Store(int64(len(batch)))
	list := make([]T, len(batch))
	for i, c := range batch {
		list[i] = c.item
		defer context.AfterFunc(c.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})()
	}
	return j.do(ctx, list)
}
