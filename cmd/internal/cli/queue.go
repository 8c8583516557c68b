package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/ingest/spool"
	"github.com/klinghook/klinghook/internal/join"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/tasks"
)

// OpenQueue returns the queue for events: Redis, with a spool for when Redis is
// unavailable. Its errors name the setting to change.
func OpenQueue(cfg *config.Config, rdb redis.UniversalClient, log *zap.Logger, metrics prometheus.Registerer) (*spool.Queue, error) {
	dir := cfg.SpoolDir
	if cfg.NoSpool {
		dir = ""
	}
	client, healthy := tasks.NewShardedClient(join.Redis(rdb), cfg.EventShards), process.RedisHealth(rdb)
	queue, err := spool.New(spool.Config{
		Redis: client, Timeout: cfg.QueueTimeout,
		Healthy: func(ctx context.Context) error {
			err := healthy(ctx)
			if errors.Is(err, process.ErrMemory) {
				return errors.Join(err, client.DropSamples())
			}
			return err
		},
		Dir: dir, MaxBytes: cfg.SpoolMaxSize, Log: log, Metrics: metrics,
	})
	const instead = "choose a directory on a local disk with KLINGHOOK_SPOOL_DIR (--spool-dir), or use no spool with --no-spool"
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w; let this user write there, or %s", err, instead)
	case err != nil:
		return nil, fmt.Errorf("%w; %s", err, instead)
	}
	return queue, nil
}

// QueueCheck returns a health check that fails if the queue cannot keep a new event.
func QueueCheck(queue *spool.Queue) process.Dependency {
	return process.Dependency{Name: "queue", Probe: queue.Check, Detail: queue.Detail}
}
