// Command klinghook-ingest is klinghook's public process. It receives Kling's webhooks,
// verifies them and enqueues them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/process"
)

// version is stamped by the linker: -X main.version=v1.2.3.
var version string

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := process.Signals(context.Background(), func() { os.Exit(cli.ExitFailure) })
	defer stop()
	err := cli.Execute(ctx, ingestCommand())
	if err != nil {
		cli.PrintError(os.Stderr, "klinghook-ingest", err)
	}
	return cli.ExitCode(err)
}

func ingestCommand() *cobra.Command {
	var healthcheck bool
	cmd := &cobra.Command{
		Use:   "klinghook-ingest",
		Short: "Receive Kling's webhooks",
		Long: `klinghook-ingest receives Kling's webhooks, verifies them and enqueues them in Redis
for "klinghook worker". It is the only public process, so leave the worker's settings
and secrets out of its environment.

While Redis is unavailable it keeps events in a spool on disk (--spool-dir), still
answers 200, and delivers them when Redis is back. With --no-spool it answers 503
instead.

It answers GET /healthz (alive) and GET /readyz (it can keep a new event), also on its
private address, which serves GET /metrics too. On SIGINT or SIGTERM it finishes
the current deliveries; a second signal stops it at once.

Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage or settings.`,
		Example: `  KLINGAI_WEBHOOK_SECRET=… klinghook-ingest
  klinghook-ingest --klingai-webhook-secret-file /run/secrets/kling --addr :8080
  klinghook-ingest --healthcheck    # is the running one ready?`,
		Version:           cli.VersionLine(version), // printed by cobra's default: a template would double the program's size
		Args:              cobra.NoArgs,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := cli.Load(config.Ingest, cmd, nil)
			if err != nil {
				return err
			}
			if healthcheck {
				return cli.CheckHealth(cmd.Context(), cfg.AdminAddr)
			}
			log, err := cli.NewLogger(cfg)
			if err != nil {
				return err
			}
			for _, name := range cli.Unused(config.Ingest) {
				log.Warn("this variable is not for ingest; leave it out of the public process's environment", zap.String("variable", name))
			}
			return serve(cmd.Context(), cfg, log)
		},
	}
	cmd.Flags().BoolVar(&healthcheck, "healthcheck", false, "check whether the running klinghook-ingest is ready, and exit with 0 or 1")
	cli.AddFlags(cmd, config.Ingest)
	return cmd
}

// serve receives webhooks until ctx ends, and then finishes the current deliveries.
func serve(ctx context.Context, cfg *config.Config, log *zap.Logger) (err error) {
	rdb, err := cli.OpenRedis(cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rdb.Close()) }()
	endpoints, disabled, err := ingest.Endpoints(cfg.Secrets)
	if err != nil {
		return err
	}
	for i, endpoint := range endpoints {
		if len(endpoint.Tokens) == 0 {
			continue
		}
		endpoints[i].Open = ingest.LookupsOn(rdb)
		if err := endpoints[i].Open(ctx); err != nil {
			log.Warn("unsigned callbacks are refused for now", zap.String("path", endpoint.Protocol.Path), zap.Error(err))
		}
	}
	for _, protocol := range disabled {
		log.Info("endpoint is off: its secret is not set", zap.String("source", protocol.Name), zap.String("path", protocol.Path), zap.String("setting", protocol.SecretSetting))
	}
	traces, err := cli.Tracing(ctx, cfg, "klinghook-ingest", version, log)
	if err != nil {
		return err
	}
	defer traces.Shutdown(ctx)
	metrics := admin.NewMetrics(cli.Version(version))
	queue, err := cli.OpenQueue(cfg, rdb, log, metrics)
	if err != nil {
		return err
	}
	queue.Start(ctx)
	defer queue.Close()
	health := process.NewHealth(log, cli.QueueCheck(queue))
	server := ingest.New(ingest.Config{
		Endpoints: endpoints, Queue: queue, MaxBody: cfg.MaxBody, Check: queue.Check, Repeated: cli.NoteRepeats(rdb, log), Tested: cli.NoteTests(rdb, log),
		Live: health.Live, Ready: health.Ready, Log: log, Metrics: metrics, Tracer: traces.Tracer(),
	})
	private := admin.Handler(admin.Config{Live: health.Live, Ready: health.Ready, Metrics: metrics, Profiles: cli.Profiles(cfg)})
	server.Start(ctx)
	defer server.Close()
	go cli.ReportIngest(ctx, rdb, log, cli.Version(version), server.Refused, queue.Percent)
	listeners := process.NewListeners(log)
	if _, err := cli.Listen(ctx, listeners, cli.PrivateService("metrics", cfg, private, log)); err != nil {
		return err
	}
	webhooks := cli.Service{Name: "webhooks", Setting: "KLINGHOOK_ADDR", Addr: cfg.Addr, Handler: server, Public: true}
	if _, err := cli.Listen(ctx, listeners, webhooks); err != nil {
		return errors.Join(err, listeners.Close())
	}
	if err := checkRedis(ctx, cfg, rdb, log); err != nil {
		return errors.Join(err, listeners.Close())
	}
	err = listeners.Wait(ctx)
	log.Info("stopping")
	return errors.Join(err, listeners.Shutdown(context.WithoutCancel(ctx), cfg.Grace))
}

// checkRedis warns at the start if Redis cannot be reached. The spool keeps events, but a
// wrong setting is more likely than an outage. A cluster node in the wrong mode is an error.
func checkRedis(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, log *zap.Logger) error {
	pinging, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	err := process.PingRedis(pinging, rdb)
	switch {
	case errors.Is(err, process.ErrClusterNode):
		return fmt.Errorf("use Redis at %s: %w", cfg.Value("KLINGHOOK_REDIS_URL"), err)
	case err == nil || ctx.Err() != nil:
		return nil
	}
	meanwhile := "events are kept in the spool until it can"
	if cfg.NoSpool {
		meanwhile = "events are answered with 503 until it can"
	}
	log.Warn("Redis cannot be reached; start it, or set KLINGHOOK_REDIS_URL (--redis-url) to another one",
		zap.String("redis", cfg.Value("KLINGHOOK_REDIS_URL")), zap.String("meanwhile", meanwhile), zap.Error(err))
	return nil
}
