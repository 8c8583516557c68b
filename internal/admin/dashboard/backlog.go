package dashboard

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// queueEvery and storeEvery are how often the queues and the store are read.
	queueEvery = 5 * time.Second
	storeEvery = 30 * time.Second
	// storeTimeout limits one reading of the store.
	storeTimeout = 10 * time.Second
)

// The metrics of a Backlog. Every process exports the same values, so queries use max.
var (
	queueUp     = prometheus.NewDesc("klinghook_queue_up", "1 if the queues could be read, else 0.", nil, nil)
	queueTasks  = prometheus.NewDesc("klinghook_queue_tasks", "Tasks in a queue, by state.", []string{"queue", "state"}, nil)
	queueOldest = prometheus.NewDesc("klinghook_queue_oldest_age_seconds", "Age of the oldest task in a state: pending since it was enqueued, scheduled and retry since they were due, archived since it failed.", []string{"queue", "state"}, nil)
	queueMemory = prometheus.NewDesc("klinghook_queue_memory_bytes", "Memory that a queue uses in Redis, estimated from samples.", []string{"queue"}, nil)
	queuePaused = prometheus.NewDesc("klinghook_queue_paused", "1 while an operator has paused a queue, else 0.", []string{"queue"}, nil)

	databaseUp  = prometheus.NewDesc("klinghook_database_up", "1 if the database could be read, else 0.", nil, nil)
	jobs        = prometheus.NewDesc("klinghook_jobs", "Jobs in the database, by status.", []string{"status"}, nil)
	deadLetters = prometheus.NewDesc("klinghook_dead_letters", "Open dead letters, by the kind of their task.", []string{"kind"}, nil)
	owed        = prometheus.NewDesc("klinghook_owed", "Unfinished work in the database: events to record, media to download, notifications to send.", []string{"what"}, nil)
	paused      = prometheus.NewDesc("klinghook_destinations_paused", "Destinations that are paused because every attempt failed for a day.", nil, nil)
)

// Counter counts rows. [store.Store] implements it.
type Counter interface {
	Counts(ctx context.Context) (store.Counts, error)
}

// BacklogConfig configures a Backlog.
type BacklogConfig struct {
	// Redis contains the queues. The caller closes it after the Backlog. Required.
	Redis redis.UniversalClient
	// EventShards is the number of queues for events. Default: 1.
	EventShards int
	// Store is nil in a process without a database.
	Store Counter
	// Log is required.
	Log *zap.Logger
}

// Backlog exports the tasks in the queues, and the jobs, dead letters and unfinished work
// in the store. It reads them in the background, so that a slow Redis or database never
// delays a scrape, and keeps an hour of the queues' history in Redis. If one cannot be read, its
// metrics are missing, except for klinghook_queue_up or klinghook_database_up, which is 0.
type Backlog struct {
	cfg           BacklogConfig
	inspector     *asynq.Inspector
	queues, store atomic.Pointer[[]prometheus.Metric] // the last readings
	infos         atomic.Pointer[[]*asynq.QueueInfo]  // of the last reading
	stop          context.CancelFunc
	readers       sync.WaitGroup
}

// NewBacklog returns a Backlog that reads until ctx ends or it is closed.
func NewBacklog(ctx context.Context, cfg BacklogConfig) *Backlog {
	backlog := &Backlog{cfg: cfg, inspector: asynq.NewInspectorFromRedisClient(cfg.Redis)}
	ctx, backlog.stop = context.WithCancel(ctx)
	backlog.readers.Go(func() { backlog.keepReading(ctx, queueEvery, queueUp, &backlog.queues, backlog.readQueues) })
	if cfg.Store != nil {
		backlog.readers.Go(func() { backlog.keepReading(ctx, storeEvery, databaseUp, &backlog.store, backlog.readStore) })
	}
	return backlog
}

// Close stops reading.
func (b *Backlog) Close() {
	b.stop()
	b.readers.Wait()
}

// Describe implements [prometheus.Collector].
func (b *Backlog) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{queueUp, queueTasks, queueOldest, queueMemory, queuePaused, databaseUp, jobs, deadLetters, owed, paused} {
		descs <- desc
	}
}

// Collect implements [prometheus.Collector].
func (b *Backlog) Collect(metrics chan<- prometheus.Metric) {
	for _, last := range []*[]prometheus.Metric{b.queues.Load(), b.store.Load()} {
		if last == nil { // not read yet
			continue
		}
		for _, metric := range *last {
			metrics <- metric
		}
	}
}

// readings collects metrics.
type readings []prometheus.Metric

func (r *readings) add(desc *prometheus.Desc, value float64, labels ...string) {
	*r = append(*r, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...))
}

// keepReading reads at once and then at each interval, until ctx ends.
func (b *Backlog) keepReading(ctx context.Context, every time.Duration, up *prometheus.Desc, last *atomic.Pointer[[]prometheus.Metric], read func(context.Context) (readings, error)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for ctx.Err() == nil {
		metrics, err := read(ctx)
		if err != nil {
			b.cfg.Log.Debug("metrics not read", zap.Error(err))
			metrics = nil
		}
		metrics.add(up, number(err == nil))
		last.Store((*[]prometheus.Metric)(&metrics))
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

func (b *Backlog) readStore(ctx context.Context) (readings, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	counts, err := b.cfg.Store.Counts(ctx)
	if err != nil {
		return nil, err
	}
	var metrics readings
	for status, n := range counts.Jobs {
		metrics.add(jobs, float64(n), string(status))
	}
	for kind, n := range counts.DeadLetters {
		metrics.add(deadLetters, float64(n), string(kind))
	}
	metrics.add(owed, float64(counts.Events), "events")
	metrics.add(owed, float64(counts.Media), "media")
	metrics.add(owed, float64(counts.Notifications), "notifications")
	metrics.add(paused, float64(counts.Paused))
	return metrics, nil
}

// readQueues reads all queues of the policy table and all shards of events. A queue
// that never had a task is empty.
func (b *Backlog) readQueues(ctx context.Context) (readings, error) {
	known, err := b.inspector.Queues()
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	names := append(tasks.Queues(), tasks.EventQueues(b.cfg.EventShards)[1:]...)
	for _, name := range known {
		if tasks.BaseQueue(name) == tasks.QueueEvents && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var metrics readings
	var infos []*asynq.QueueInfo
	for _, name := range names {
		info := &asynq.QueueInfo{Queue: name}
		if slices.Contains(known, name) {
			if info, err = b.inspector.GetQueueInfo(name); err != nil {
				return nil, fmt.Errorf("read queue %s: %w", name, err)
			}
		}
		if err := b.addQueue(&metrics, info); err != nil {
			return nil, fmt.Errorf("read queue %s: %w", name, err)
		}
		infos = append(infos, info)
	}
	b.infos.Store(&infos)
	if err := keepSample(ctx, b.cfg.Redis, infos, time.Now()); err != nil {
		b.cfg.Log.Debug("queues read, but not their sample kept", zap.Error(err))
	}
	return metrics, nil
}

func (b *Backlog) addQueue(metrics *readings, info *asynq.QueueInfo) error {
	sinceDue := func(task *asynq.TaskInfo) time.Duration { return time.Since(task.NextProcessAt) }
	sinceFailure := func(task *asynq.TaskInfo) time.Duration {
		if task.LastFailedAt.IsZero() { // An operator archived it.
			return 0
		}
		return time.Since(task.LastFailedAt)
	}
	for _, state := range []struct {
		name  string
		count int
		list  func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error)
		// oldest is the page with the oldest task, with one task per page.
		oldest int
		age    func(*asynq.TaskInfo) time.Duration
	}{
		{"scheduled", info.Scheduled, b.inspector.ListScheduledTasks, 1, sinceDue},
		{"retry", info.Retry, b.inspector.ListRetryTasks, 1, sinceDue},
		{"archived", info.Archived, b.inspector.ListArchivedTasks, info.Archived, sinceFailure}, // newest first
	} {
		metrics.add(queueTasks, float64(state.count), info.Queue, state.name)
		age := time.Duration(0)
		if state.count > 0 {
			list, err := state.list(info.Queue, asynq.PageSize(1), asynq.Page(state.oldest))
			if err != nil {
				return err
			}
			for _, task := range list {
				age = max(state.age(task), 0)
			}
		}
		metrics.add(queueOldest, age.Seconds(), info.Queue, state.name)
	}
	metrics.add(queueTasks, float64(info.Pending), info.Queue, "pending")
	metrics.add(queueOldest, info.Latency.Seconds(), info.Queue, "pending")
	metrics.add(queueTasks, float64(info.Active), info.Queue, "active")
	metrics.add(queueTasks, float64(info.Completed), info.Queue, "completed")
	metrics.add(queueMemory, float64(info.MemoryUsage), info.Queue)
	metrics.add(queuePaused, number(info.Paused), info.Queue)
	return nil
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
