package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/join"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/media"
	"github.com/klinghook/klinghook/worker/notify"
)

// Config describes a Worker. Fields without a default are required.
type Config struct {
	Redis redis.UniversalClient
	Store *store.Store
	// Sources are the webhook protocols by name. Reading an event needs no secret.
	Sources map[string]source.Source
	Fetcher *media.Fetcher
	Bucket  *media.Bucket
	Notify  *notify.Notifier
	// Lookups configures look-ups of silent jobs; if its Kling is nil, there are none.
	Lookups Lookups
	// MediaKinds are the kinds of files that are stored; default all but watermarked copies.
	MediaKinds []tasks.MediaKind
	// Retention is how long finished work is kept; default forever.
	Retention store.Retention
	// LinkLifetime is how long links to media work; default 30 days.
	LinkLifetime time.Duration
	// StoredLinkLifetime is how long links to stored files work; 0 means no links.
	StoredLinkLifetime time.Duration
	// Concurrency is how many tasks of each queue run at once; for events, of all shards
	// together. A queue without an entry does not run here.
	Concurrency map[string]int
	// EventShards is the number of queues that events are spread over; default 1.
	EventShards int
	// Grace bounds Shutdown; default 30 s.
	Grace time.Duration
	Log   *zap.Logger
	// Metrics is where the worker registers its metrics.
	Metrics prometheus.Registerer
	// Tracer traces attempts, if set.
	Tracer trace.Tracer
	// Observer, if set, is called for each attempt instead of logging it.
	Observer Observer
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Worker runs tasks.
type Worker struct {
	cfg      Config
	asynqLog asynqLogger
	queue    *queue
	metrics  metrics
	handlers map[tasks.Kind]handler
	// records and processed let concurrent events share a transaction.
	records   *join.Joiner[store.Recording, store.Owed]
	processed *join.Joiner[string, struct{}]
	attempts  *join.Joiner[store.SendAttempt, store.Effect]
	servers   []*asynq.Server
	inquirer  *inquirer // nil if Kling is not asked

	warnUnsigned sync.Once // warns that the bucket cannot sign links

	sweeping sync.Mutex // guards suspects
	// suspects are the active tasks that no server reports, and when a sweep first saw
	// them.
	suspects map[string]time.Time

	// interrupt is closed shortly before the grace period ends.
	interrupt     chan struct{}
	interruptOnce sync.Once
	// stopRounds ends the sweeps and look-ups; rounds waits for them.
	stopRounds context.CancelFunc
	rounds     sync.WaitGroup
}

// New returns a Worker that has not been started.
func New(cfg Config) (*Worker, error) {
	cfg.Grace = cmp.Or(cfg.Grace, 30*time.Second)
	cfg.LinkLifetime = cmp.Or(cfg.LinkLifetime, 30*24*time.Hour)
	cfg.EventShards = max(cfg.EventShards, 1)
	if cfg.MediaKinds == nil {
		cfg.MediaKinds = slices.DeleteFunc(tasks.MediaKinds(), func(kind tasks.MediaKind) bool { return kind == tasks.MediaWatermark })
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	rdb := join.Redis(cfg.Redis)
	w := &Worker{
		cfg:        cfg,
		asynqLog:   newAsynqLogger(cfg.Log),
		queue:      newQueue(rdb, cfg.EventShards),
		metrics:    newMetrics(cfg.Metrics),
		suspects:   make(map[string]time.Time),
		interrupt:  make(chan struct{}),
		stopRounds: func() {},
	}
	w.handlers = w.newHandlers()
	w.joinEvents()
	w.joinAttempts()
	if cfg.Lookups.Kling != nil {
		w.inquirer = newInquirer(w)
	}
	for name, n := range cfg.Concurrency {
		if !slices.Contains(tasks.Queues(), name) {
			return nil, fmt.Errorf("run queue %q: unknown queue; known are %q", name, tasks.Queues())
		}
		if n > 0 {
			w.addServers(rdb, name, n)
		}
	}
	if len(w.servers) == 0 {
		return nil, errors.New("run queues: every concurrency is 0")
	}
	return w, nil
}

const (
	// eventServers is the number of asynq servers for events: each fetches one task per
	// round trip. Downloads and notifications take so long that one server is enough.
	eventServers = 4
	// taskCheckInterval is how long a server sleeps when its queue is empty, on average.
	taskCheckInterval = 100 * time.Millisecond
	// delayedTaskCheckInterval is how often a server looks for retries that are due.
	delayedTaskCheckInterval = time.Second
)

// addServers adds the servers that run n tasks of a queue at once. The shards of the
// events queue share n, and each runs one task at least.
func (w *Worker) addServers(rdb redis.UniversalClient, queue string, n int) {
	shards, servers := []string{queue}, 1
	if queue == tasks.QueueEvents {
		shards = tasks.EventQueues(w.cfg.EventShards)
		servers = max(eventServers/len(shards), 1)
	}
	for i, shard := range shards {
		concurrency := max(share(n, i, len(shards)), 1)
		w.metrics.concurrency.WithLabelValues(shard).Set(float64(concurrency))
		for j := range min(servers, concurrency) {
			w.servers = append(w.servers, asynq.NewServerFromRedisClient(patientClient{rdb}, asynq.Config{
				Concurrency:              share(concurrency, j, min(servers, concurrency)),
				Queues:                   map[string]int{shard: 1},
				TaskCheckInterval:        taskCheckInterval,
				DelayedTaskCheckInterval: delayedTaskCheckInterval,
				ShutdownTimeout:          w.cfg.Grace - w.margin(),
				RetryDelayFunc:           retryDelay,
				IsFailure:                isFailure,
				ErrorHandler:             w,
				Logger:                   w.asynqLog,
			}))
		}
	}
}

// share returns the i-th part of n, split as evenly as possible.
func share(n, i, parts int) int {
	if i < n%parts {
		return n/parts + 1
	}
	return n / parts
}

// patientClient waits a moment after Redis refuses a script, such as when its memory
// is full: asynq would try again at once, in a tight loop.
type patientClient struct{ redis.UniversalClient }

func (c patientClient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "NOSCRIPT") {
		select {
		case <-ctx.Done():
		case <-time.After(taskCheckInterval):
		}
	}
	return cmd
}

// Start runs tasks, sweeps (see [Worker.Sweep]) and looks jobs up until Shutdown. ctx
// only carries values. A Worker can be started once.
func (w *Worker) Start(ctx context.Context) error {
	for i, server := range w.servers {
		if err := server.Start(w); err != nil {
			for _, started := range w.servers[:i] {
				started.Shutdown()
			}
			return fmt.Errorf("start worker: %w", err)
		}
	}
	ctx, w.stopRounds = context.WithCancel(context.WithoutCancel(ctx))
	w.rounds.Go(func() { w.runSweeps(ctx) })
	w.rounds.Go(func() { w.tidyBucket(ctx) })
	w.rounds.Go(func() { w.runPrunes(ctx) })
	if w.inquirer != nil {
		w.rounds.Go(func() { w.inquirer.run(ctx) })
	}
	return nil
}

// margin is how long before the end of the grace period asynq puts running tasks back.
// Handlers are cancelled one margin earlier, so that they release transactions and files.
func (w *Worker) margin() time.Duration { return min(w.cfg.Grace/4, 500*time.Millisecond) }

// Shutdown stops fetching tasks, lets the running ones finish, and puts the rest back
// into the queue without counting an attempt. It returns within the grace period. It
// may be called more than once, and after a failed Start.
func (w *Worker) Shutdown() {
	timer := time.AfterFunc(w.cfg.Grace-2*w.margin(), func() {
		w.interruptOnce.Do(func() { close(w.interrupt) })
	})
	defer timer.Stop()
	w.stopRounds()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var wg sync.WaitGroup
		for _, server := range w.servers {
			wg.Go(server.Shutdown)
		}
		wg.Wait()
		w.rounds.Wait()
		w.records.Wait()
		w.processed.Wait()
		w.attempts.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(w.cfg.Grace):
		w.cfg.Log.Warn("grace period is over; unfinished tasks run again later")
	}
}

// Drain waits until no task is pending or active, or ctx ends. It does not wait for
// retries: the store knows that they are owed.
func (w *Worker) Drain(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := w.queue.unfinished()
		if err == nil && left == 0 { // a task may have ended meanwhile, and left another in a queue seen as empty
			left, err = w.queue.unfinished()
		}
		if err != nil || left == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("drain queues: %d tasks left: %w", left, ctx.Err())
		case <-tick.C:
		}
	}
}
