package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/tasks"
)

// ErrFull means that an event would exceed the spool's limit.
var ErrFull = errors.New("the spool is full")

const (
	// interval is the time between checks of Redis, and the timeout of each.
	interval = time.Second
	// maxFailures is how many failed enqueues in a row open the breaker.
	maxFailures = 3
	// maxWriters limits concurrent file writes, and each blocks a thread.
	maxWriters = 64
)

// Config describes a Queue.
type Config struct {
	// Redis is the queue that is tried first, such as a [tasks.Client]. It must accept
	// duplicates. Required.
	Redis ingest.Enqueuer
	// Healthy returns why Redis must not be used. It is called every second. Required.
	Healthy func(context.Context) error
	// Timeout bounds an enqueue in Redis; default 250 ms.
	Timeout time.Duration
	// Dir is the spool's directory, created if needed. If empty, events that Redis does not
	// take are refused.
	Dir string
	// MaxBytes limits the disk space of the files; default 1 GiB.
	MaxBytes int64
	// Log is required.
	Log *zap.Logger
	// Metrics is where the Queue registers its metrics. Required.
	Metrics prometheus.Registerer
}

// Queue enqueues tasks in Redis, or in the spool while Redis is down. It is safe for
// concurrent use.
type Queue struct {
	cfg     Config
	dir     *dir // nil without a spool
	breaker *gobreaker.CircuitBreaker[bool]
	// unhealthy makes the breaker open at the first failure.
	unhealthy atomic.Bool
	writers   chan struct{} // a semaphore for file writes
	metrics   metrics
	diskLog   *zap.Logger // at most one line a minute
	scanAfter time.Time   // used only by scan, like scanned
	scanned   time.Time
	stop      context.CancelFunc
	running   sync.WaitGroup

	mu         sync.Mutex // guards the fields below
	usage      usage
	changes    int   // counts changes of usage
	redisErr   error // the last error of Redis
	writeErr   error // of the last write, at writeErrAt
	writeErrAt time.Time
}

// New returns a Queue. Call Start, and Close after the last Enqueue.
func New(cfg Config) (*Queue, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 250*time.Millisecond)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 1<<30)
	q := &Queue{
		cfg: cfg, stop: func() {}, writers: make(chan struct{}, maxWriters), scanned: time.Now(),
		diskLog: cfg.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
			return zapcore.NewSamplerWithOptions(core, time.Minute, 1, 0)
		})),
	}
	q.breaker = gobreaker.NewCircuitBreaker[bool](gobreaker.Settings{
		Timeout: interval / 2, // shorter than the time to the next check
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			return q.unhealthy.Load() || counts.ConsecutiveFailures >= maxFailures
		},
		IsExcluded: func(err error) bool {
			return errors.Is(err, context.Canceled) || errors.Is(err, tasks.ErrQueueFull)
		},
		OnStateChange: q.breakerChanged,
	})
	if cfg.Dir != "" {
		var err error
		if q.dir, err = openDir(cfg.Dir); err == nil {
			q.usage, err = q.dir.scan()
		}
		if err != nil {
			return nil, fmt.Errorf("open spool %s: %w", cfg.Dir, err)
		}
		if q.usage.events > 0 {
			cfg.Log.Info("spool has events", zap.Int("events", q.usage.events))
		}
	}
	q.metrics = newMetrics(cfg.Metrics, q)
	return q, nil
}

// Start checks Redis and drains the spool in the background, until Close. It ignores the
// cancellation of ctx.
func (q *Queue) Start(ctx context.Context) {
	ctx, q.stop = context.WithCancel(context.WithoutCancel(ctx))
	q.running.Go(func() { q.run(ctx) })
}

// Close stops what Start started. Events in the spool stay there for the next process on
// the same directory.
func (q *Queue) Close() {
	q.stop()
	q.running.Wait()
	if n := q.used().events; n > 0 {
		q.cfg.Log.Warn("events stay in the spool until the next start", zap.Int("events", n))
	}
}

// Enqueue implements [ingest.Enqueuer]. It returns once the task is in Redis or synced to
// the disk. duplicate is known only if Redis took the task. Samples of refused deliveries
// never go to the disk.
func (q *Queue) Enqueue(ctx context.Context, task tasks.Task) (duplicate bool, err error) {
	if q.breaker.State() == gobreaker.StateClosed {
		duplicate, err = q.breaker.Execute(func() (bool, error) { return q.send(ctx, task, q.cfg.Timeout) })
		if err == nil {
			return duplicate, nil
		}
	} else {
		err = q.downError()
	}
	if q.dir == nil || task.Kind == tasks.KindRejectionKeep {
		return false, err
	}
	if putErr := q.put(ctx, task); putErr != nil {
		return false, fmt.Errorf("spool %s: %w; Redis did not take it: %w", task.ID, putErr, err)
	}
	return false, nil
}

// send enqueues a task in Redis.
func (q *Queue) send(ctx context.Context, task tasks.Task, timeout time.Duration) (duplicate bool, err error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	duplicate, err = q.cfg.Redis.Enqueue(limited, task)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return false, errors.Join(err, context.Canceled) // says nothing about Redis
	}
	return duplicate, q.note(err)
}

// note remembers why Redis failed.
func (q *Queue) note(err error) error {
	if err != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.redisErr = err
	}
	return err
}

// downError returns why Redis is not used.
func (q *Queue) downError() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return fmt.Errorf("redis is not used: %w", q.redisErr)
}

func (q *Queue) breakerChanged(_ string, from, to gobreaker.State) {
	switch {
	case from == gobreaker.StateClosed:
		q.cfg.Log.Warn("circuit breaker opened", zap.Bool("spool", q.dir != nil), zap.Error(q.downError()))
	case to == gobreaker.StateClosed:
		q.cfg.Log.Info("circuit breaker closed: Redis is used")
	}
}

// put writes a task to the spool and returns once it is synced. If ctx ends first, the
// task may still be written.
func (q *Queue) put(ctx context.Context, task tasks.Task) error {
	select {
	case q.writers <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	q.running.Go(func() {
		defer func() { <-q.writers }()
		done <- q.write(encode(task))
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *Queue) write(content []byte) error {
	size := blocks(int64(len(content)))
	if !q.count(1, size) { // before the write, because others run concurrently
		q.metrics.puts.WithLabelValues("full").Inc()
		return ErrFull
	}
	outcome, err := "stored", q.dir.put(content)
	if err != nil {
		outcome = "error"
		q.count(-1, -size)
	}
	q.metrics.puts.WithLabelValues(outcome).Inc()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writeErr, q.writeErrAt = err, time.Now()
	return err
}

// count adds to the usage, unless that would exceed the limit.
func (q *Queue) count(events int, bytes int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if bytes > 0 && q.usage.bytes+bytes > q.cfg.MaxBytes {
		return false
	}
	if q.usage.events == 0 {
		q.usage.oldest = time.Now()
	}
	q.changes++
	q.usage.events = max(q.usage.events+events, 0)
	q.usage.bytes = max(q.usage.bytes+bytes, 0)
	return true
}

func (q *Queue) used() usage {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.usage
}

// run checks Redis and drains the spool until ctx ends.
func (q *Queue) run(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		q.check(ctx)
		if q.dir != nil && q.drain(ctx) {
			continue
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// check opens the breaker if Redis is unhealthy. It closes the breaker if Redis is healthy
// and accepts the oldest event in the spool.
func (q *Queue) check(ctx context.Context) {
	closed := q.breaker.State() == gobreaker.StateClosed
	_, _ = q.breaker.Execute(func() (bool, error) { // the breaker acts on the error
		limited, cancel := context.WithTimeout(ctx, interval)
		defer cancel()
		err := q.cfg.Healthy(limited)
		if ctx.Err() != nil {
			return false, context.Canceled
		}
		q.unhealthy.Store(err != nil)
		if err == nil && !closed && q.dir != nil {
			q.noteDisk(q.dir.files(func(path string) bool {
				err = q.handOver(ctx, path)
				return false
			}))
		}
		return false, q.note(err)
	})
}

// drain hands over events, oldest first, for about a second. It reports whether it ran out
// of time.
func (q *Queue) drain(ctx context.Context) (more bool) {
	q.scan()
	if q.used().events == 0 {
		return false
	}
	until := time.Now().Add(interval)
	q.noteDisk(q.dir.files(func(path string) bool {
		if more = time.Now().After(until); more || ctx.Err() != nil || q.breaker.State() != gobreaker.StateClosed {
			return false
		}
		_, err := q.breaker.Execute(func() (bool, error) { return false, q.handOver(ctx, path) })
		return err == nil
	}))
	return more
}

// scan recounts the files, because other processes may add and delete some. It takes at
// most a tenth of the time. If this process changed the spool during a scan, the result is
// dropped, but not for more than ten seconds.
func (q *Queue) scan() {
	start := time.Now()
	if start.Before(q.scanAfter) {
		return
	}
	q.mu.Lock()
	before, quiet := q.changes, len(q.writers) == 0
	q.mu.Unlock()
	found, err := q.dir.scan()
	q.noteDisk(err)
	q.scanAfter = time.Now().Add(10 * time.Since(start))
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil && (quiet && q.changes == before || time.Since(q.scanned) > 10*time.Second) {
		q.usage, q.scanned = found, time.Now()
	}
}

// handOver enqueues the event in a file and deletes the file. It returns only errors from
// Redis; the next drain retries a file that cannot be read or deleted.
func (q *Queue) handOver(ctx context.Context, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		q.noteDisk(err)
		return nil
	}
	task, err := decode(content)
	if err != nil {
		q.cfg.Log.Error("spooled file cannot be handed over: moved to bad/", zap.String("file", filepath.Base(path)), zap.Error(err))
		q.removed(path, os.Rename(path, filepath.Join(q.dir.path, "bad", filepath.Base(path))))
		return nil
	}
	if _, err := q.send(ctx, task, interval); err != nil {
		return err
	}
	q.metrics.drained.Inc()
	q.removed(path, os.Remove(path))
	return nil
}

// removed updates the usage after a file left new/, or logs why it did not.
func (q *Queue) removed(path string, err error) {
	q.noteDisk(err)
	if err == nil {
		_, size := parseName(path)
		q.count(-1, -size)
	}
}

// noteDisk logs a disk error, at most once a minute. It ignores missing files, which
// another process has handed over.
func (q *Queue) noteDisk(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		q.diskLog.Error("spool cannot be read or changed", zap.Error(err))
	}
}
