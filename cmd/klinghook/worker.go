package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/admin/queues"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/worker"
	"github.com/klinghook/klinghook/worker/media"
	"github.com/klinghook/klinghook/worker/notify"
)

func workerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Work on what ingest has queued",
		Long: `worker records events, downloads media and sends notifications, as they come
through the queue in Redis. Any number of workers may run; with more than one
machine they need one PostgreSQL and one bucket between them. Run "klinghook
migrate" once before the first. Beside klinghook-ingest on one machine it needs
another KLINGHOOK_ADMIN_ADDR.

On SIGINT or SIGTERM it takes no new task and lets running ones finish for the
grace period; the rest go back to the queue. A second signal ends it at once.`,
		Example: `  klinghook worker
  klinghook worker --admin-addr 127.0.0.1:5002    # beside klinghook-ingest
  klinghook worker --queues media=8               # downloads only`,
		Args: noArgs,
		RunE: runWorker,
	}
	settings(cmd, config.Worker)
	return cmd
}

func runWorker(cmd *cobra.Command, _ []string) (err error) {
	ctx := cmd.Context()
	cfg, log, err := loadWithLog(config.Worker, cmd)
	if err != nil {
		return err
	}
	redis.SetLogger(process.RedisLogger{Log: log})
	rdb, err := process.NewRedis(cfg.RedisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rdb.Close()) }()
	// asynq would start without it, and complain in a loop.
	if err := pingRedis(ctx, cfg, rdb, "start it, or name another with KLINGHOOK_REDIS_URL (--redis-url)"); err != nil {
		return err
	}
	db, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	traces, err := cli.Tracing(ctx, cfg, "klinghook-worker", version, log)
	if err != nil {
		return err
	}
	defer traces.Shutdown(ctx)
	metrics := admin.NewMetrics(cli.Version(version))
	crew, err := newCrew(ctx, crewConfig{cfg: cfg, redis: rdb, store: db, log: log, metrics: metrics, tracer: traces.Tracer(), grace: cfg.Grace, allow: cfg.MediaAllow})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crew.close()) }()
	backlog := queues.NewBacklog(ctx, queues.BacklogConfig{Redis: rdb, EventShards: cfg.EventShards, Store: db, Log: log})
	defer backlog.Close()
	metrics.MustRegister(backlog)
	health := process.NewHealth(log, process.RedisCheck(rdb), process.Check{Name: "database", Probe: db.Ping})
	listeners := process.NewListeners(log)
	private := admin.Handler(admin.Config{Live: health.Live, Ready: health.Ready, Metrics: metrics, Jobs: jobsAPI(cfg, db, log)})
	if _, err := cli.Listen(ctx, listeners, cli.AdminEndpoint(cfg, private, log)); err != nil {
		return err
	}
	if err := crew.worker.Start(ctx); err != nil {
		return errors.Join(err, listeners.Shutdown(context.WithoutCancel(ctx), 0))
	}
	log.Info("working", zap.Stringer("queues", cfg.Queues), zap.Int("event_shards", cfg.EventShards), zap.Int("pid", os.Getpid()))
	err = listeners.Wait(ctx)
	log.Info("stopping")
	crew.worker.Shutdown()
	return errors.Join(err, listeners.Shutdown(context.WithoutCancel(ctx), cfg.Grace))
}

// crew is a worker with what it works with.
type crew struct {
	worker *worker.Worker
	bucket *media.Bucket
	notify *notify.Notifier
}

type crewConfig struct {
	cfg     *config.Config
	redis   redis.UniversalClient
	store   *store.Store
	log     *zap.Logger
	metrics prometheus.Registerer
	tracer  trace.Tracer // nil where nothing is traced
	// observer is told of attempts in the place of the log; nil for nobody.
	observer worker.Observer
	// grace is how long a worker that stops lets running tasks finish.
	grace time.Duration
	// allow is the hosts that downloads may reach although they are private.
	allow []string
}

func newCrew(ctx context.Context, c crewConfig) (*crew, error) {
	notifier, err := notify.New(notify.Config{ChatURLs: c.cfg.NotifyURLs, ForwardURLs: c.cfg.ForwardURLs, ForwardSecret: c.cfg.ForwardSecret, Rate: c.cfg.NotifyRate})
	if err != nil {
		return nil, cli.Usagef("KLINGHOOK_NOTIFY_URLS, KLINGHOOK_FORWARD_URLS: %w", err)
	}
	bucket, err := media.OpenBucket(ctx, c.cfg.BucketURL)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; let this user write there, or name another folder with KLINGHOOK_BUCKET_URL (--bucket-url)", err)
	}
	if err != nil {
		return nil, err
	}
	sources, err := source.All(source.NoSecrets)
	if err != nil {
		return nil, errors.Join(err, bucket.Close())
	}
	asks, err := lookups(c.cfg)
	if err != nil {
		return nil, errors.Join(err, bucket.Close())
	}
	if asks.Kling == nil {
		c.log.Info("look-ups are off: no credentials for Kling's API", zap.Strings("settings", []string{"KLINGAI_API_KEY", "KLINGAI_ACCESS_KEY"}))
	}
	fetcher := media.NewFetcher(media.Config{MaxSize: c.cfg.MediaMaxSize, Allow: c.allow, Metrics: c.metrics})
	w, err := worker.New(worker.Config{
		Redis: c.redis, Store: c.store, Sources: sources, Fetcher: fetcher, Bucket: bucket, Notify: notifier,
		NotifyTypes: c.cfg.NotifyEvents, Lookups: asks, LinkLifetime: c.cfg.LinkLifetime, Concurrency: c.cfg.Queues, EventShards: c.cfg.EventShards, Grace: max(c.grace, time.Millisecond), Log: c.log, Metrics: c.metrics, Tracer: c.tracer, Observer: c.observer,
	})
	if err != nil {
		return nil, errors.Join(err, bucket.Close())
	}
	return &crew{worker: w, bucket: bucket, notify: notifier}, nil
}

// close lets go of what the worker worked with; the worker must have been shut
// down.
func (c *crew) close() error {
	c.notify.Close()
	return c.bucket.Close()
}
