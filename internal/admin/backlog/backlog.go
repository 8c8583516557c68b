package backlog

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
)

const (
	// queueEvery and storeEvery are how long what was read is good for.
	queueEvery = 5 * time.Second
	storeEvery = 30 * time.Second
	// storeTimeout bounds one reading of the store.
	storeTimeout = 10 * time.Second
)

// Store counts what it holds. [store.Store] is one.
type Store interface {
	Counts(ctx context.Context) (store.Counts, error)
}

// Config is what a Collector is made of.
type Config struct {
	// Redis holds the queues; it stays the caller's to close, after the Collector.
	// Required.
	Redis redis.UniversalClient
	// EventShards is over how many queues events are spread; default 1.
	EventShards int
	// Store is left out where a process has none.
	Store Store
	// Log is required.
	Log *zap.Logger
}

// Collector is a [prometheus.Collector].
type Collector struct {
	log   *zap.Logger
	stop  context.CancelFunc
	queue *reading[[]queueState]
	store *reading[store.Counts] // nil without a store

	queueUp, queueTasks, queueOldest, queueMemory, queuePaused *prometheus.Desc
	databaseUp, jobs, deadLetters, owed                        *prometheus.Desc
}

// New returns a Collector for cfg, which reads until ctx ends or it is closed.
func New(ctx context.Context, cfg Config) *Collector {
	ctx, stop := context.WithCancel(ctx)
	inspector := asynq.NewInspectorFromRedisClient(cfg.Redis)
	c := &Collector{
		log:   cfg.Log,
		stop:  stop,
		queue: &reading[[]queueState]{every: queueEvery, read: func() ([]queueState, error) { return readQueues(inspector, cfg.EventShards) }},

		queueUp:     prometheus.NewDesc("klinghook_queue_up", "1 when the queues could be read, else 0.", nil, nil),
		queueTasks:  prometheus.NewDesc("klinghook_queue_tasks", "Tasks in a queue, by their state.", []string{"queue", "state"}, nil),
		queueOldest: prometheus.NewDesc("klinghook_queue_oldest_age_seconds", "How long the oldest task of a state waits: a pending one since it was put there, a scheduled one or a retry since it was due, an archived one since it failed.", []string{"queue", "state"}, nil),
		queueMemory: prometheus.NewDesc("klinghook_queue_memory_bytes", "What a queue takes of Redis's memory, estimated from samples.", []string{"queue"}, nil),
		queuePaused: prometheus.NewDesc("klinghook_queue_paused", "1 while an operator keeps a queue from being worked on, else 0.", []string{"queue"}, nil),

		databaseUp:  prometheus.NewDesc("klinghook_database_up", "1 when the database could be read, else 0.", nil, nil),
		jobs:        prometheus.NewDesc("klinghook_jobs", "Jobs in the database, by their status; counts stop at 100,000.", []string{"status"}, nil),
		deadLetters: prometheus.NewDesc("klinghook_dead_letters", "Dead letters that wait for a person, by the kind of their task.", []string{"kind"}, nil),
		owed:        prometheus.NewDesc("klinghook_owed", "What the database says is still to be done: events to be recorded to the end, files to be downloaded, notifications to be sent.", []string{"what"}, nil),
	}
	if cfg.Store != nil {
		c.store = &reading[store.Counts]{every: storeEvery, read: func() (store.Counts, error) {
			ctx, cancel := context.WithTimeout(ctx, storeTimeout)
			defer cancel()
			return cfg.Store.Counts(ctx)
		}}
	}
	return c
}

// Close ends what is being read, and waits for it.
func (c *Collector) Close() error {
	c.stop()
	c.queue.wait()
	if c.store != nil {
		c.store.wait()
	}
	return nil
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.queueUp, c.queueTasks, c.queueOldest, c.queueMemory, c.queuePaused} {
		descs <- d
	}
	if c.store == nil {
		return
	}
	for _, d := range []*prometheus.Desc{c.databaseUp, c.jobs, c.deadLetters, c.owed} {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	c.collectQueues(metrics)
	if c.store != nil {
		c.collectStore(metrics)
	}
}

func gauge(metrics chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (c *Collector) collectQueues(metrics chan<- prometheus.Metric) {
	queues, err := c.queue.get()
	c.up(metrics, c.queueUp, err)
	if err != nil {
		return
	}
	for _, q := range queues {
		for _, state := range stateNames() {
			gauge(metrics, c.queueTasks, float64(q.tasks[state]), q.name, state)
			if age, ok := q.oldest[state]; ok {
				gauge(metrics, c.queueOldest, age.Seconds(), q.name, state)
			}
		}
		gauge(metrics, c.queueMemory, float64(q.memory), q.name)
		gauge(metrics, c.queuePaused, truth(q.paused), q.name)
	}
}

func (c *Collector) collectStore(metrics chan<- prometheus.Metric) {
	counts, err := c.store.get()
	c.up(metrics, c.databaseUp, err)
	if err != nil {
		return
	}
	for status, n := range counts.Jobs {
		gauge(metrics, c.jobs, float64(n), string(status))
	}
	for kind, n := range counts.DeadLetters {
		gauge(metrics, c.deadLetters, float64(n), string(kind))
	}
	gauge(metrics, c.owed, float64(counts.Events), "events")
	gauge(metrics, c.owed, float64(counts.Media), "media")
	gauge(metrics, c.owed, float64(counts.Notifications), "notifications")
}

// up tells whether something could be read. Why it could not is told by whoever
// needs it for more than a metric.
func (c *Collector) up(metrics chan<- prometheus.Metric, d *prometheus.Desc, err error) {
	if err != nil {
		c.log.Debug("metrics not read", zap.Error(err))
	}
	gauge(metrics, d, truth(err == nil))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
