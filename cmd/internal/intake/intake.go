// Package intake is what events are enqueued to, as the settings say: the queue,
// with a spool before it.
package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/ingest/spool"
	"github.com/klinghook/klinghook/internal/join"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/tasks"
)

// Config is what an intake is made of.
type Config struct {
	// Settings are those of the spool.
	Settings *config.Config
	Redis    redis.UniversalClient
	// Kept is set where Redis is memory. It reports, by task ID, of what the spool may
	// let go: see [spool.JournalConfig].
	Kept    func(ctx context.Context, taskIDs []string) (map[string]bool, error)
	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// Intake is a queue that is being looked after.
type Intake struct {
	ingest.Queue
	// Check says whether an event that came now would be kept.
	Check process.Check
	// Spooled says that it has a spool.
	Spooled bool

	spool *spool.Spool // nil without one
	stop  context.CancelFunc
	done  sync.WaitGroup
	log   *zap.Logger
}

// Open returns an Intake, which the caller closes when no more deliveries come. It
// does not end with ctx, so that deliveries in hand are kept. Its errors say which
// setting to change.
func Open(ctx context.Context, cfg Config) (*Intake, error) {
	in := &Intake{log: cfg.Log}
	ctx, in.stop = context.WithCancel(context.WithoutCancel(ctx))
	if !cfg.Settings.NoSpool {
		var err error
		in.spool, err = openSpool(cfg.Settings)
		if err != nil {
			return nil, err
		}
		in.Spooled = true
	}
	client := tasks.NewShardedClient(join.Redis(cfg.Redis), cfg.Settings.EventShards)
	switch {
	case cfg.Kept == nil:
		q := spool.NewQueue(spool.QueueConfig{
			Inner: client, CallTimeout: cmp.Or(cfg.Settings.QueueTimeout, spool.CallTimeout), Spool: in.spool, Healthy: healthy(cfg.Redis), Log: cfg.Log, Metrics: cfg.Metrics,
		})
		in.Queue, in.Check = q, process.Check{Name: "queue", Probe: q.Check}
		if in.Spooled {
			in.Check.Detail = func() map[string]any { return q.Status().Detail() }
		}
		in.done.Go(func() { q.Run(ctx) })
	case in.Spooled:
		j := spool.NewJournal(spool.JournalConfig{Inner: client, Spool: in.spool, Kept: cfg.Kept, Log: cfg.Log, Metrics: cfg.Metrics})
		in.Queue, in.Check = j, process.Check{Name: "spool", Probe: j.Check, Detail: func() map[string]any { return j.Status().Detail() }}
		in.done.Go(func() { j.Run(ctx) })
	default:
		in.Queue, in.Check = client, process.RedisCheck(cfg.Redis)
	}
	if in.Spooled && cfg.Settings.SpoolShared {
		cfg.Log.Info("spool is one of several", zap.String("directory", in.spool.Dir()))
		in.done.Go(func() { in.adopt(ctx) })
	}
	return in, nil
}

// openSpool opens the spool that the settings name.
func openSpool(cfg *config.Config) (*spool.Spool, error) {
	open := spool.Open
	if cfg.SpoolShared {
		open = spool.OpenShared
	}
	kept, err := open(spool.Config{Dir: cfg.SpoolDir, MaxBytes: cfg.SpoolMaxSize})
	switch {
	case err == nil:
		return kept, nil
	case errors.Is(err, spool.ErrLocked):
		return nil, fmt.Errorf("%w, with KLINGHOOK_SPOOL_DIR (--spool-dir), or let them share it with --spool-shared", err)
	case errors.Is(err, spool.ErrDamaged):
		return nil, err // it says what to do
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; let this user write there, or name another directory with KLINGHOOK_SPOOL_DIR (--spool-dir), or go without one with --no-spool", err)
	}
	return nil, fmt.Errorf("%w; name a directory on a disk of this machine with KLINGHOOK_SPOOL_DIR (--spool-dir), or go without one with --no-spool", err)
}

// healthy asks what no delivery finds out in time: whether Redis is about to run
// out of memory, and, so that the breaker stays open as long as need be, whether it
// takes a write at all.
func healthy(rdb redis.UniversalClient) func(context.Context) error {
	memory, write := spool.MemoryProbe(rdb), process.RedisCheck(rdb)
	return func(ctx context.Context) error {
		if err := memory(ctx); err != nil {
			return err
		}
		return write.Probe(ctx)
	}
}

// Close ends the intake. What is left in its spool stays there for the next process
// on the same directory.
func (in *Intake) Close() error {
	in.stop()
	in.done.Wait()
	if in.spool == nil {
		return nil
	}
	if n := in.spool.Stats().Events; n > 0 {
		in.log.Warn("events are left in the spool; the next process on this directory hands them over", zap.Int("events", n))
	}
	return in.spool.Close()
}
