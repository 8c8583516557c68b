// Command klinghook-ingest is klinghook's public process: it receives Kling's
// webhooks, verifies them and puts them into the queue. It takes its settings
// from the environment and from flags of the same words; `klinghook-ingest --help`
// lists them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/tasks"
)

// version is stamped by the linker: -X main.version=v1.2.3.
var version string

func main() {
	os.Exit(run())
}

// run does what the arguments ask for and returns the exit code.
func run() int {
	ctx, stop := process.Signals(context.Background(), func() { os.Exit(cli.ExitFailure) })
	defer stop()
	err := ingestOrTell(ctx, os.Args[1:])
	if err != nil {
		cli.PrintError(os.Stderr, "klinghook-ingest", err)
	}
	return cli.ExitCode(err)
}

const help = `klinghook-ingest receives Kling's webhooks, verifies them and enqueues them in
Redis for "klinghook worker". It is the only process that the public reaches: leave
the worker's settings out of its environment.

While Redis is away it keeps events in a spool, one synced file per event in
./klinghook-data/spool (--spool-dir), still answers 200, and hands the events over
when Redis is back. Processes on one machine may share the directory. With --no-spool
it answers 503 instead.

GET /healthz (it runs) and GET /readyz (an event that came now would be kept) are
served beside the webhooks and on the private address, which also serves GET /metrics.
SIGINT or SIGTERM lets it finish the deliveries it has; a second signal ends it at once.

Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage or settings.

Usage:
  klinghook-ingest [flags]

Examples:
  KLINGAI_WEBHOOK_SECRET=… klinghook-ingest
  klinghook-ingest --klingai-webhook-secret-file /run/secrets/kling --addr :8080
  klinghook-ingest --healthcheck    # is the one that runs here ready?
`

// ingestOrTell receives webhooks until ctx ends, unless the arguments ask for the
// help or the version.
func ingestOrTell(ctx context.Context, args []string) error {
	fs := pflag.NewFlagSet("klinghook-ingest", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	cli.AddFlags(fs, config.Ingest)
	checkHealth := fs.Bool("healthcheck", false, "ask the klinghook-ingest that runs with these settings whether it is ready, and exit with 0 or 1")
	showVersion := fs.BoolP("version", "v", false, "print the version and exit")
	showHelp := fs.BoolP("help", "h", false, "print this help and exit")
	err := fs.Parse(args)
	switch {
	case err != nil:
		return cli.FlagError("klinghook-ingest", fs, err)
	case *showHelp:
		fmt.Print(help)
		return cli.WriteFlags(os.Stdout, fs)
	case *showVersion:
		fmt.Println(cli.VersionLine("klinghook-ingest", version))
		return nil
	case fs.NArg() > 0:
		return cli.Usagef("there is no command %q: klinghook-ingest takes flags only; `klinghook-ingest --help` lists them", fs.Arg(0))
	}
	cfg, err := cli.Load(config.Ingest, os.Environ(), fs)
	if err != nil {
		return err
	}
	if *checkHealth {
		return cli.CheckHealth(ctx, cfg.AdminAddr)
	}
	log, err := process.NewLogger(process.LogConfig{Level: cfg.LogLevel, Format: cfg.LogFormat, Coloured: cli.Coloured(os.Stderr), File: os.Stderr})
	if err != nil {
		return err
	}
	for _, name := range config.Unused(config.Ingest, os.Environ()) {
		log.Warn("this variable is not for ingest; leave it out of the public process's environment", zap.String("variable", name))
	}
	return serve(ctx, cfg, log)
}

// serve receives webhooks until ctx ends, and then finishes the deliveries in
// hand.
func serve(ctx context.Context, cfg *config.Config, log *zap.Logger) (err error) {
	redis.SetLogger(process.RedisLogger{Log: log})
	rdb, err := process.NewRedis(cfg.RedisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rdb.Close()) }()
	endpoints, disabled, err := ingest.Endpoints(cfg.Secrets)
	if err != nil {
		return err
	}
	for i, e := range endpoints {
		if len(e.Tokens) == 0 {
			continue
		}
		endpoints[i].Open = ingest.LookupsOn(rdb)
		if err := endpoints[i].Open(ctx); err != nil {
			log.Warn("unsigned callbacks are refused for now", zap.String("path", e.Protocol.Path), zap.Error(err))
		}
	}
	for _, p := range disabled {
		log.Info("endpoint is off: its secret is not set", zap.String("source", p.Name), zap.String("path", p.Path), zap.String("setting", p.SecretSetting))
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
		Endpoints: endpoints, Queue: queue, Samples: tasks.NewClient(rdb), MaxBody: cfg.MaxBody,
		Live: health.Live, Ready: health.Ready, Log: log, Metrics: metrics, Tracer: traces.Tracer(),
	})
	private := admin.Handler(admin.Config{Live: health.Live, Ready: health.Ready, Metrics: metrics})
	server.Start(ctx)
	defer server.Close()
	listeners := process.NewListeners(log)
	if _, err := cli.Listen(ctx, listeners, cli.AdminEndpoint(cfg, private, log)); err != nil {
		return err
	}
	webhooks := cli.Endpoint{Name: "webhooks", Setting: "KLINGHOOK_ADDR", Addr: cfg.Addr, Handler: server}
	if _, err := cli.Listen(ctx, listeners, webhooks); err != nil {
		return errors.Join(err, listeners.Close())
	}
	warnOfRedis(ctx, cfg, rdb, log)
	err = listeners.Wait(ctx)
	log.Info("stopping")
	return errors.Join(err, listeners.Shutdown(context.WithoutCancel(ctx), cfg.Grace))
}

// warnOfRedis says at the start that Redis cannot be reached: that is no reason to
// turn events away, and yet more probably a wrong setting than an outage.
func warnOfRedis(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, log *zap.Logger) {
	pinging, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	err := rdb.Ping(pinging).Err()
	if err == nil || ctx.Err() != nil {
		return
	}
	meanwhile := "events are kept in the spool until it can"
	if cfg.NoSpool {
		meanwhile = "events are answered with 503 until it can"
	}
	log.Warn("Redis cannot be reached; start it, or name another with KLINGHOOK_REDIS_URL (--redis-url)",
		zap.String("redis", cfg.Value("KLINGHOOK_REDIS_URL")), zap.String("meanwhile", meanwhile), zap.Error(err))
}
