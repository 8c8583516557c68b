package worker

import (
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

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/media"
	"github.com/klinghook/klinghook/worker/notify"
)

// Config is what a Worker is made of. Fields without a default are required.
type Config struct {
	Redis redis.UniversalClient
	Store *store.Store
	// Sources are the protocols by name. An event is read by the one that
	// received it; no secret is needed for that.
	Sources map[string]source.Source
	Fetcher *media.Fetcher
	Bucket  *media.Bucket
	Notify  *notify.Notifier
	// NotifyTypes are the event types that destinations are told of.
	NotifyTypes []string
	// Lookups says how Kling is asked about jobs; without a Kling it is not.
	Lookups Lookups
	// LinkLifetime is how long links to media live; default 30 days.
	LinkLifetime time.Duration
	// Concurrency is how many tasks of each queue are run at once; of events, of all
	// shards together. A queue that is not named is not run here.
	Concurrency map[string]int
	// EventShards is over how many queues events are spread; default 1. Other shards
	// that have tasks are run too.
	EventShards int
	// Grace is how long Shutdown lets running tasks finish; default 30 s.
	Grace time.Duration
	Log   *zap.Logger
	// Metrics is where the worker registers its metrics.
	Metrics prometheus.Registerer
	// Tracer traces attempts, if there is one.
	Tracer trace.Tracer
	// Work, where set, is what tasks of a kind are run by in the place of klinghook's own
	// work: a measurement's, of what a worker costs by itself.
	Work map[tasks.Kind]func(ctx context.Context, payload []byte) error
	// Observer, where set, is told of each attempt in the place of the log.
	Observer Observer
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Worker runs tasks.
type Worker struct {
	cfg       Config
	queue     *tasks.Client
	inspector *asynq.Inspector
	metrics   metrics
	handlers  map[tasks.Kind]handler
	// records and marks have events that are worked on at the same time recorded
	// together, and marked as processed.
	records *joiner[store.Recording, store.Owed]
	marks   *joiner[string, struct{}]
	// servers are added to by the rounds only, once they have begun.
	servers []*asynq.Server
	shards  *shards
	// fetcher is the servers' Redis.
	fetcher *fetchClient
	// inquirer is nil where Kling is not asked.
	inquirer *inquirer
	// interrupt is closed when a shutdown has waited long enough: handlers are
	// cancelled, and their tasks go back to the queue whole.
	interrupt chan struct{}
	// stopRounds ends what the worker does by itself, from time to time, and rounds
	// waits until that has ended.
	stopRounds context.CancelFunc
	rounds     sync.WaitGroup
}

// interruptAhead is how long before the end of the grace period running handlers
// are cancelled, so that they let go of transactions and files in good order.
const interruptAhead = 500 * time.Millisecond

// New returns a Worker for cfg. It does not start it.
func New(cfg Config) (*Worker, error) {
	if cfg.Grace == 0 {
		cfg.Grace = 30 * time.Second
	}
	if cfg.LinkLifetime == 0 {
		cfg.LinkLifetime = 30 * 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := &Worker{
		cfg:       cfg,
		queue:     tasks.NewShardedClient(cfg.Redis, cfg.EventShards),
		inspector: asynq.NewInspectorFromRedisClient(cfg.Redis),
		metrics:   newMetrics(cfg.Metrics),
		fetcher:   newFetchClient(cfg.Redis),
		interrupt: make(chan struct{}),
	}
	w.handlers = w.newHandlers()
	for kind, work := range cfg.Work {
		h := w.handlers[kind]
		h.run = work
		w.handlers[kind] = h
	}
	w.joinEvents()
	if cfg.Lookups.Kling != nil {
		w.inquirer = newInquirer(w)
	}
	known := tasks.Queues()
	for queue, n := range cfg.Concurrency {
		if !slices.Contains(known, queue) {
			return nil, fmt.Errorf("run queue %q: there is none of that name; known are %q", queue, known)
		}
		if n > 0 {
			w.servers = append(w.servers, w.newShardServers(queue, n)...)
		}
	}
	if len(w.servers) == 0 {
		return nil, errors.New("run queues: none is chosen")
	}
	w.shards = newShards(w)
	return w, nil
}

const (
	// A server fetches one task in each round trip to Redis, whatever its concurrency.
	// Events take little more than that, so that their queue has a server for every
	// tasksPerServer that it runs at once, up to maxServers; downloads and messages take
	// so long that one is enough.
	tasksPerServer = 2
	maxServers     = 6
	// askAgain is how long a server sleeps after an answer that there is no task, on
	// average; the waiting is done by its Redis.
	askAgain = time.Millisecond
	// seldom is for what one server of a queue does for all.
	seldom = time.Hour
)

// newServers returns the servers that run n tasks of a queue at once.
func (w *Worker) newServers(queue string, n int) []*asynq.Server {
	w.metrics.concurrency.WithLabelValues(queue).Set(float64(n))
	count := 1
	if tasks.BaseQueue(queue) == tasks.QueueEvents {
		count = min((n+tasksPerServer-1)/tasksPerServer, maxServers)
	}
	servers := make([]*asynq.Server, 0, count)
	for i := range count {
		cfg := asynq.Config{
			Concurrency:              n / count,
			Queues:                   map[string]int{queue: 1},
			TaskCheckInterval:        askAgain,
			DelayedTaskCheckInterval: forwardEvery(queue),
			ShutdownTimeout:          w.cfg.Grace,
			RetryDelayFunc:           retryDelay,
			IsFailure:                isFailure,
			Logger:                   asynqLogger{w.cfg.Log.Named("asynq").Sugar()},
		}
		if i < n%count {
			cfg.Concurrency++
		}
		if i > 0 {
			cfg.DelayedTaskCheckInterval, cfg.JanitorInterval = seldom, seldom
		}
		servers = append(servers, asynq.NewServerFromRedisClient(w.fetcher, cfg))
	}
	return servers
}

// forwardEvery is how often a queue is asked for tasks whose wait for another attempt
// is over. Events are what people wait for.
func forwardEvery(queue string) time.Duration {
	if tasks.BaseQueue(queue) == tasks.QueueEvents {
		return time.Second
	}
	return 2 * time.Second
}

// Start begins to run tasks, to sweep (see [Worker.Sweep]) and to look jobs up. It
// fails when Redis does not answer. ctx is for the values of what the worker does by
// itself; Shutdown ends that.
func (w *Worker) Start(ctx context.Context) error {
	for i, server := range w.servers {
		if err := server.Start(w); err != nil {
			w.fetcher.close()
			for _, started := range w.servers[:i] {
				started.Shutdown()
			}
			return fmt.Errorf("start worker: %w", err)
		}
	}
	ctx, w.stopRounds = context.WithCancel(context.WithoutCancel(ctx))
	w.rounds.Go(func() { w.shards.run(ctx) })
	w.rounds.Go(func() { w.runSweeps(ctx) })
	w.rounds.Go(func() { w.tidyBucket(ctx) })
	if w.inquirer != nil {
		w.rounds.Go(func() { w.inquirer.run(ctx) })
	}
	return nil
}

// Shutdown takes no new task, lets the running ones finish within the grace
// period, and puts the rest back into the queue without counting an attempt.
func (w *Worker) Shutdown() {
	w.stopRounds()
	w.rounds.Wait()
	timer := time.AfterFunc(max(w.cfg.Grace-interruptAhead, 0), func() { close(w.interrupt) })
	defer timer.Stop()
	var wg sync.WaitGroup
	wg.Go(w.fetcher.close)
	for _, server := range w.servers {
		wg.Go(server.Shutdown)
	}
	wg.Wait()
	w.records.wait()
	w.marks.wait()
	w.fetcher.scripts.wait()
}

// Drain waits until no task is waiting or running, or ctx ends. Tasks that wait
// for another attempt are left: the store knows that they are owed.
func (w *Worker) Drain(ctx context.Context) error {
	if err := tasks.ListQueues(ctx, w.cfg.Redis, w.cfg.EventShards); err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := w.unfinished(ctx)
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

// unfinished counts the tasks that are pending or active in all queues.
func (w *Worker) unfinished(ctx context.Context) (int, error) {
	queues, err := tasks.KnownQueues(ctx, w.cfg.Redis)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, queue := range queues {
		info, err := w.inspector.GetQueueInfo(queue)
		if err != nil {
			return 0, fmt.Errorf("count tasks of %s: %w", queue, err)
		}
		total += info.Pending + info.Active
	}
	return total, nil
}
