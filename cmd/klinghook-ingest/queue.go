package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/ingest/spool"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/tasks"
)

// queue is what events are enqueued to.
type queue struct {
	ingest.Queue
	// check says whether an event that came now would be kept.
	check process.Check
	// close lets go of it, once no more deliveries come.
	close func() error
}

// openQueue returns the queue in Redis, with a spool before it where the settings
// name a directory for one.
func openQueue(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, log *zap.Logger, metrics prometheus.Registerer) (*queue, error) {
	client := tasks.NewClient(rdb)
	if cfg.SpoolDir == "" {
		return &queue{Queue: client, check: process.RedisCheck(rdb), close: func() error { return nil }}, nil
	}
	kept, err := spool.Open(spool.Config{Dir: cfg.SpoolDir, MaxBytes: cfg.SpoolMaxSize})
	if err != nil {
		return nil, err
	}
	q := spool.NewQueue(spool.QueueConfig{Inner: client, Spool: kept, Healthy: spool.MemoryProbe(rdb), Log: log, Metrics: metrics})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		q.Run(ctx)
	}()
	return &queue{Queue: q, check: process.Check{Name: "queue", Probe: q.Check}, close: func() error {
		cancel()
		<-drained
		if n := kept.Stats().Events; n > 0 {
			log.Warn("events are left in the spool; the next process on this directory hands them over",
				zap.Int("events", n), zap.String("directory", cfg.SpoolDir))
		}
		return kept.Close()
	}}, nil
}
