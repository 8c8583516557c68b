package main

import (
	"context"
	"errors"
	"net/http"
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
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
	"github.com/klinghook/klinghook/worker/media"
	"github.com/klinghook/klinghook/worker/notify"
)

func workerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Record events, download media and send notifications",
		Long: `worker takes tasks from the queue in Redis: it records events, downloads media and sends
notifications. Any number of workers can run. On several machines, they share one
PostgreSQL database and one bucket. Run "klinghook migrate" once before the first worker
starts. If another process, such as klinghook-ingest, uses the default private address,
a worker listens on a free port unless KLINGHOOK_ADMIN_ADDR is set.

A worker is not ready until Redis, the database and the bucket are available. It waits
for them, but exits at once if credentials are wrong or the schema is outdated.

On SIGINT or SIGTERM it starts no more tasks and gives running ones the grace period to
finish. Unfinished tasks return to the queue. A second signal stops it at once.`,
		Example: `  klinghook worker
  klinghook worker --admin-addr 127.0.0.1:5002    # beside klinghook-ingest
  klinghook worker --queues media=8               # only downloads`,
		Args: cobra.NoArgs,
		RunE: runWorker,
	}
	cli.AddFlags(cmd, config.Worker)
	return cmd
}

func runWorker(cmd *cobra.Command, _ []string) (err error) {
	ctx := cmd.Context()
	cfg, log, err := loadWithLog(config.Worker, cmd)
	if err != nil {
		return err
	}
	// The client stays open until the process ends: asynq panics if its client is closed
	// while a shutdown outlasts the grace period.
	rdb, err := cli.OpenRedis(cfg, log)
	if err != nil {
		return err
	}
	db, err := store.Prepare(ctx, cfg.DatabaseURL)
	if err != nil {
		return databaseError(cfg, err)
	}
	defer closeInto(&err, db.Close)
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
	defer closeInto(&err, crew.close)
	stopAlerts, err := watchAlerts(ctx, cfg, rdb, log)
	if err != nil {
		return err
	}
	defer stopAlerts()
	backlog := dashboard.NewBacklog(ctx, dashboard.BacklogConfig{Redis: rdb, EventShards: cfg.EventShards, Store: db, Log: log})
	defer backlog.Close()
	metrics.MustRegister(backlog)
	health := process.NewHealth(log, process.RedisCheck(rdb), process.Dependency{Name: "database", Probe: db.CheckWritable}, process.Dependency{Name: "bucket", Probe: crew.bucket.Checked})
	private := admin.Handler(admin.Config{Live: health.Live, Ready: health.Ready, Metrics: metrics, Profiles: cli.Profiles(cfg)})
	go cli.ReportWorker(ctx, rdb, log, cli.Version(version))
	return crew.serve(ctx, cfg, private, log,
		redisDependency(cfg, rdb), databaseDependency(cfg, db),
		dependency{name: "bucket", check: crew.bucket.Check, temporary: media.IsTemporary})
}

func redisDependency(cfg *config.Config, rdb redis.UniversalClient) dependency {
	return dependency{name: "Redis", temporary: isTemporaryRedisError, check: func(ctx context.Context) error {
		return pingRedis(ctx, cfg, rdb, "start it, or set KLINGHOOK_REDIS_URL (--redis-url) to another one")
	}}
}

func databaseDependency(cfg *config.Config, db *store.Store) dependency {
	return dependency{name: "database", temporary: store.IsTemporary, check: func(ctx context.Context) error {
		if err := db.CheckWritable(ctx); err != nil {
			return databaseError(cfg, err)
		}
		return db.CheckSchema(ctx)
	}}
}

// serve serves the private address, waits for the dependencies, and runs the worker until
// ctx ends.
func (c *crew) serve(ctx context.Context, cfg *config.Config, private http.Handler, log *zap.Logger, dependencies ...dependency) error {
	listeners := process.NewListeners(log)
	if _, err := cli.Listen(ctx, listeners, cli.PrivateService("metrics", cfg, private, log)); err != nil {
		return err
	}
	if err := await(ctx, log, dependencies...); err != nil {
		if ctx.Err() != nil {
			log.Info("stopping")
			err = nil
		}
		return errors.Join(err, listeners.Shutdown(context.WithoutCancel(ctx), cfg.Grace))
	}
	if err := c.worker.Start(ctx); err != nil {
		return errors.Join(err, listeners.Shutdown(context.WithoutCancel(ctx), cfg.Grace))
	}
	log.Info("working", zap.String("queues", cfg.Value("KLINGHOOK_QUEUES")), zap.Int("event_shards", cfg.EventShards), zap.Int("pid", os.Getpid()))
	err := listeners.Wait(ctx)
	log.Info("stopping")
	c.worker.Shutdown()
	return errors.Join(err, listeners.Shutdown(context.WithoutCancel(ctx), cfg.Grace))
}

// crew is a worker and its dependencies.
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
	tracer  trace.Tracer // nil if nothing is traced
	// observer, if set, is called for each attempt instead of logging it.
	observer worker.Observer
	grace    time.Duration // for running tasks when the worker stops
	allow    []string      // private hosts that downloads may use
}

func newCrew(ctx context.Context, cfg crewConfig) (*crew, error) {
	if keepsJobsWithFiles(cfg.cfg) {
		cfg.log.Warn(jobsWithFilesAreKept)
	}
	notifier, err := newNotifier(cfg.cfg)
	if err != nil {
		return nil, err
	}
	bucket, err := openBucket(ctx, cfg.cfg)
	if err != nil {
		return nil, err
	}
	sources, err := source.All(source.NoSecrets)
	if err != nil {
		return nil, errors.Join(err, bucket.Close())
	}
	lookupConfig, err := lookups(cfg.cfg)
	if err != nil {
		return nil, errors.Join(err, bucket.Close())
	}
	if lookupConfig.Kling == nil {
		cfg.log.Info("look-ups are off: no credentials for Kling's API", zap.Strings("settings", []string{"KLINGAI_API_KEY", "KLINGAI_ACCESS_KEY"}))
	}
	fetcher := media.NewFetcher(media.Config{
		MaxSize: cfg.cfg.MediaMaxSize, Allow: cfg.allow, Deny: cfg.cfg.MediaDeny, Only: cfg.cfg.MediaOnly, FakeIP: cfg.cfg.MediaFakeIP, Metrics: cfg.metrics,
	})
	w, err := worker.New(worker.Config{
		Redis: cfg.redis, Store: cfg.store, Sources: sources, Fetcher: fetcher, Bucket: bucket, Notify: notifier,
		Lookups: lookupConfig, MediaKinds: each(cfg.cfg.MediaKinds, func(kind string) tasks.MediaKind { return tasks.MediaKind(kind) }), Retention: retention(cfg.cfg), LinkLifetime: cfg.cfg.LinkLifetime, StoredLinkLifetime: cfg.cfg.StoredLinkLifetime, Concurrency: cfg.cfg.Queues, EventShards: cfg.cfg.EventShards, Grace: max(cfg.grace, time.Millisecond), Log: cfg.log, Metrics: cfg.metrics, Tracer: cfg.tracer, Observer: cfg.observer,
	})
	if err != nil {
		return nil, errors.Join(err, bucket.Close())
	}
	return &crew{worker: w, bucket: bucket, notify: notifier}, nil
}

// close closes the dependencies. The worker must have been shut down.
func (c *crew) close() error {
	c.notify.Close()
	return c.bucket.Close()
}
