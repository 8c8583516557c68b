package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// A queue is listened to for shortListen at first, so that a worker that has just
	// worked can stop soon, and twice as long each time nothing comes, up to
	// longListen. What comes meanwhile ends it. An answer has to come within
	// listenGrace more, and within the client's read time-out.
	shortListen, longListen, listenGrace = 250 * time.Millisecond, 2 * time.Second, 3 * time.Second
	// A queue that has something which nobody here got, because it is paused or others
	// were faster, is left alone for fruitlessRest, and twice as long each time up to
	// troubleRest, which is also how long a Redis that answers with an error is.
	fruitlessRest, troubleRest = 25 * time.Millisecond, 250 * time.Millisecond
)

// fetchClient is a Redis client for asynq's servers. Where a queue is empty, asynq
// asks for work, sleeps and asks again; here the answer to its asking waits until
// there may be some. So a task is begun at once, while idle servers ask Redis for next
// to nothing; and a Redis that refuses to answer is not asked in a tight loop. What
// asynq says of tasks at the same time, that they are done for the most part, goes to
// Redis together.
type fetchClient struct {
	redis.UniversalClient
	scripts *joiner[scriptCall, *redis.Cmd]
	// stop is closed when nothing is to be waited for any more.
	stop      chan struct{}
	listeners sync.WaitGroup

	mu sync.Mutex // guards the bells, and that none listens anew after stop
	// bells are the queues', by the key of their pending tasks.
	bells map[string]*bell
	// slots has room for as many as may listen at once: each holds a connection.
	slots chan struct{}
}

func newFetchClient(rdb redis.UniversalClient) *fetchClient {
	c := &fetchClient{
		UniversalClient: rdb, scripts: joinScripts(rdb),
		bells: make(map[string]*bell), stop: make(chan struct{}), slots: make(chan struct{}, mayListen(rdb)),
	}
	for _, queue := range append(tasks.Queues(), tasks.EventQueues(tasks.MaxEventShards)...) {
		c.bells[tasks.PendingKey(queue)] = &bell{}
	}
	return c
}

// mayListen returns how many queues may be listened to at once: so many that half of
// the client's connections are left for everything else, however many shards of events
// there are; but as many as there are without shards.
func mayListen(rdb redis.UniversalClient) int {
	connections := 0
	switch c := rdb.(type) {
	case *redis.Client:
		connections = c.Options().PoolSize
	case *redis.ClusterClient:
		connections = c.Options().PoolSize // of each node, and all may lie on one
	}
	return max(connections/2, len(tasks.Queues()))
}

// close lets go of all who wait, and returns when nobody listens any more, which takes
// up to longListen. It may be called once.
func (c *fetchClient) close() {
	c.mu.Lock()
	close(c.stop)
	c.mu.Unlock()
	c.listeners.Wait()
}

// EvalSha overrides that of the client. Where the script is asynq's that fetches a task,
// and the answer is that there is none, it waits; any other joins those of the same time.
func (c *fetchClient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	b := c.fetched(keys)
	if b == nil {
		cmd, err := c.scripts.call(ctx, scriptCall{sha, keys, args})
		if err != nil {
			cmd = redis.NewCmd(ctx)
			cmd.SetErr(err)
		}
		return cmd
	}
	cmd := c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	switch err := cmd.Err(); {
	case err == nil:
		c.mu.Lock()
		b.vain = 0
		c.mu.Unlock()
	case errors.Is(err, redis.Nil):
		// It is not run again here: it says until when the task is this worker's.
		c.wait(ctx, keys[0], b)
	case !redis.HasErrorPrefix(err, "NOSCRIPT") && !errors.Is(err, redis.ErrNoScript):
		c.rest(troubleRest)
	}
	return cmd
}

// scriptCall is a script that Redis is to run.
type scriptCall struct {
	sha  string
	keys []string
	args []any
}

// joinScripts makes scripts that are to be run at the same time share a round trip. Each
// has its own answer, or error. They run one after the other, as they came.
func joinScripts(rdb redis.UniversalClient) *joiner[scriptCall, *redis.Cmd] {
	run := func(ctx context.Context, s scriptCall) *redis.Cmd { return rdb.EvalSha(ctx, s.sha, s.keys, s.args...) }
	return &joiner[scriptCall, *redis.Cmd]{
		// Another round trip is begun beside one that takes long, where Redis is far away.
		flushers: 4, least: 16,
		do: func(ctx context.Context, list []scriptCall) ([]*redis.Cmd, error) {
			if len(list) == 1 {
				return []*redis.Cmd{run(ctx, list[0])}, nil
			}
			cmds := make([]*redis.Cmd, len(list))
			pipe := rdb.Pipeline()
			for i, s := range list {
				cmds[i] = pipe.EvalSha(ctx, s.sha, s.keys, s.args...)
			}
			_, _ = pipe.Exec(ctx) // the error is that of a command, which has it too
			return cmds, nil
		},
		// Only a panic of do comes to this.
		alone: func(ctx context.Context, s scriptCall) (*redis.Cmd, error) { return run(ctx, s), nil },
	}
}

// fetched returns the bell of the queue from which a script with these keys fetches;
// nil for other scripts.
func (c *fetchClient) fetched(keys []string) *bell {
	if len(keys) != 4 { // pending, paused, active, lease
		return nil
	}
	return c.bells[keys[0]]
}

// bell tells those who wait for a queue that it may have something. One goroutine
// listens for all of them.
type bell struct {
	// rung is closed when the queue may have something; nil while nobody listens.
	rung chan struct{}
	// vain counts how often in a row it rang and nobody got anything.
	vain int
}

// wait returns when the queue may have something.
func (c *fetchClient) wait(ctx context.Context, pending string, b *bell) {
	rung := c.listener(ctx, pending, b)
	select {
	case <-rung:
	case <-c.stop:
	}
}

// listener has the queue listened to and returns what is closed when there may be
// something.
func (c *fetchClient) listener(ctx context.Context, pending string, b *bell) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.rung == nil && !c.stopped() {
		b.rung = make(chan struct{})
		rest := time.Duration(0)
		if b.vain > 1 { // once may be a coincidence
			rest = min(fruitlessRest<<min(b.vain-2, 8), troubleRest)
		}
		c.listeners.Go(func() { c.listen(context.WithoutCancel(ctx), pending, b, rest) })
	}
	return b.rung
}

// listen rests, waits until the queue has something, and rings. Where too many are
// listened to it rings after troubleRest, so that the queue is asked instead.
func (c *fetchClient) listen(ctx context.Context, pending string, b *bell, rest time.Duration) {
	defer c.ring(b)
	if rest > 0 {
		c.rest(rest)
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		c.rest(troubleRest - rest)
		return
	}
	for timeout := shortListen; !c.stopped(); timeout = min(2*timeout, longListen) {
		err := c.listenOnce(ctx, pending, timeout)
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			c.rest(troubleRest)
		}
		return
	}
}

// listenOnce returns nil when the list has something. The list's last element is
// moved to where it is, for which Redis waits until there is one.
func (c *fetchClient) listenOnce(ctx context.Context, pending string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout+listenGrace)
	defer cancel()
	// go-redis's own BLMove knows whole seconds only.
	return c.Do(ctx, "blmove", pending, pending, "right", "right", timeout.Seconds()).Err()
}

func (c *fetchClient) ring(b *bell) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.vain++
	close(b.rung)
	b.rung = nil
}

// rest waits for a while, unless all waiting is over.
func (c *fetchClient) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.stop:
	}
}

func (c *fetchClient) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}
