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

	"github.com/redis/go-redis/v9"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/admin"
	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/tasks"
)

// version is stamped by the linker: -X main.version=v1.2.3.
var version string

func main() {
	err := run(os.Args[1:])
	if err != nil {
		cli.PrintError(os.Stderr, "klinghook-ingest", err)
	}
	os.Exit(cli.ExitCode(err))
}

func run(args []string) error {
	fs := pflag.NewFlagSet("klinghook-ingest", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.SetOutput(io.Discard)
	cli.AddFlags(fs, config.Ingest)
	showVersion := fs.Bool("version", false, "print the version and exit")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Printf("klinghook-ingest receives Kling's webhooks, verifies them and puts them into the queue.\n\nFlags:\n%s", fs.FlagUsages())
		return nil
	case err != nil:
		return cli.Usagef("%w; klinghook-ingest --help lists the flags", err)
	case fs.NArg() > 0:
		return cli.Usagef("unexpected argument %q; klinghook-ingest takes flags only", fs.Arg(0))
	case *showVersion:
		fmt.Println("klinghook-ingest", cli.Version(version))
		return nil
	}
	cfg, err := cli.Load(config.Ingest, os.Environ(), fs)
	if err != nil {
		return err
	}
	log, err := process.NewLogger(cfg.LogLevel, cfg.LogFormat, os.Stderr)
	if err != nil {
		return err
	}
	for _, name := range config.Unused(config.Ingest, os.Environ()) {
		log.Warn("this variable is not for ingest; leave it out of the public process's environment", zap.String("variable", name))
	}
	ctx, stop := process.Signals(context.Background(), func() { os.Exit(cli.ExitFailure) })
	defer stop()
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
	for _, p := range disabled {
		log.Info("endpoint is off: its secret is not set", zap.String("source", p.Name), zap.String("path", p.Path), zap.String("setting", p.SecretSetting))
	}
	metrics := admin.NewMetrics(cli.Version(version))
	health := process.NewHealth(log, process.RedisCheck(rdb))
	server := ingest.New(ingest.Config{
		Endpoints: endpoints, Queue: tasks.NewClient(rdb), MaxBody: cfg.MaxBody,
		Live: health.Live, Ready: health.Ready, Log: log, Metrics: metrics,
	})
	private := admin.Handler(admin.Config{Live: health.Live, Ready: health.Ready, Metrics: metrics})
	listeners := process.NewListeners(log)
	if _, err := listeners.Add(ctx, "admin", cfg.AdminAddr, private); err != nil {
		return err
	}
	if _, err := listeners.Add(ctx, "webhooks", cfg.Addr, server); err != nil {
		return err
	}
	err = listeners.Wait(ctx)
	log.Info("stopping")
	return errors.Join(err, listeners.Shutdown(context.WithoutCancel(ctx), cfg.Grace))
}
