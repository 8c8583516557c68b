package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func devCommand() *cobra.Command {
	var options devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process, without other servers",
		Long: `dev receives and processes webhooks in one process. It needs no other server: the queue
is in memory, and the SQLite database and the media are in ./klinghook-data. To use real
servers, set KLINGHOOK_REDIS_URL, KLINGHOOK_DATABASE_URL or KLINGHOOK_BUCKET_URL. Only
one dev can use a data directory at a time.

With the queue in memory, an event is in the database before it is answered with 200. If
dev is killed, the next one on the same directory continues its work.

dev creates webhook secrets that are not set, and keeps them in the data directory. It
prints them only on a terminal. It also serves a small video and a thumbnail, which
"klinghook send" links to.

On a terminal, dev prints one line for each step of a delivery. Elsewhere, or if you set
KLINGHOOK_LOG_FORMAT or KLINGHOOK_LOG_LEVEL, it prints the log instead.

Press Ctrl-C to finish the current work and stop, and again to stop at once.`,
		Example: `  klinghook dev
  klinghook send --lifecycle                    # in another terminal
  klinghook dev --addr :8080 --data /tmp/try    # elsewhere
  KLINGHOOK_REDIS_URL=redis://localhost:6379 klinghook dev`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDev(cmd, options) },
	}
	cmd.Flags().BoolVar(&options.simulate, "simulate", false, "also run a fake Kling, as \"klinghook simulate\" does, and look up jobs there")
	cmd.Flags().BoolVar(&options.skipVerify, "insecure-skip-verify", false, "accept unsigned deliveries; listens on 127.0.0.1 unless --addr is given")
	cli.AddFlags(cmd, config.Dev)
	return cmd
}

// devOptions are dev's flags that are not settings.
type devOptions struct{ skipVerify, simulate bool }

func runDev(cmd *cobra.Command, options devOptions) (err error) {
	cfg, err := load(config.Dev, cmd)
	if err != nil {
		return err
	}
	hideNewFiles()
	screen := newConsole(os.Stdout, os.Stderr)
	d := &dev{cfg: cfg, out: screen.Out(), showSecrets: screen.out.terminal, devOptions: options, metrics: admin.NewMetrics(cli.Version(version))}
	log, err := d.openLog(screen)
	if err != nil {
		return err
	}
	d.log = log
	cli.LogWarnings(cfg, log)
	if d.traces, err = cli.Tracing(cmd.Context(), cfg, "klinghook-dev", version, log); err != nil {
		return err
	}
	defer d.traces.Shutdown(cmd.Context())
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.open(cmd.Context()); err != nil {
		return err
	}
	return d.run(cmd.Context())
}

// dev is ingest and worker in one process, with their dependencies.
type dev struct {
	devOptions
	cfg         *config.Config
	log         *zap.Logger
	out         io.Writer
	showSecrets bool // out is a terminal
	metrics     *prometheus.Registry
	traces      *process.Traces

	secrets  devSecrets
	embedded *embeddedRedis // nil with a real Redis
	redisURL string
	rdb      redis.UniversalClient
	store    *store.Store
	queue    ingest.Enqueuer
	check    process.Dependency // of the queue
	// spoolPercent returns how much of the spool is in use.
	spoolPercent func() int
	sample       *sampleServer
	kling        *simulatedKling // nil without --simulate
	crew         *crew
	narrator     *narrator // nil if the log reports what happens
	backlog      *dashboard.Backlog
	pages        *dashboard.Dashboard
	webhooks     atomic.Pointer[string] // the URL of ingest; nil until it listens
	// closers undo open, last first.
	closers []func() error
}

// open opens everything that ingest and worker need.
func (d *dev) open(ctx context.Context) (err error) {
	if !admin.IsLoopback(d.cfg.AdminAddr) {
		return cli.Usagef("KLINGHOOK_ADMIN_ADDR (--admin-addr) is %q: in dev pages and API have no login; use a loopback address, such as 127.0.0.1:5001", d.cfg.AdminAddr)
	}
	lock, err := lockData(d.cfg.Data)
	if err != nil {
		return err
	}
	d.closers = append(d.closers, lock.close)
	if d.secrets, err = openSecrets(d.cfg); err != nil {
		return err
	}
	if err := d.openRedis(ctx); err != nil {
		return err
	}
	if d.store, err = store.Create(ctx, d.cfg.DatabaseURL); err != nil {
		return databaseError(d.cfg, err)
	}
	d.closers = append(d.closers, d.store.Close)
	if _, err := d.store.Migrate(ctx); err != nil {
		return err
	}
	d.backlog = dashboard.NewBacklog(ctx, dashboard.BacklogConfig{Redis: d.rdb, Store: d.store, Log: d.log})
	d.closers = append(d.closers, func() error { d.backlog.Close(); return nil })
	d.metrics.MustRegister(d.backlog)
	if err := d.openQueue(ctx); err != nil {
		return err
	}
	if d.sample, err = startSampleServer(ctx, d.log, d.cfg.Data); err != nil {
		return err
	}
	d.closers = append(d.closers, d.sample.close)
	allow := append([]string{d.sample.addr}, d.cfg.MediaAllow...)
	if d.simulate {
		if d.kling, err = startSimulatedKling(ctx, d.log, d.cfg, d.secrets); err != nil {
			return err
		}
		d.closers = append(d.closers, d.kling.close)
		allow = append(allow, d.kling.addr)
	}
	d.crew, err = newCrew(ctx, crewConfig{cfg: d.cfg, redis: d.rdb, store: d.store, log: d.log, metrics: d.metrics, tracer: d.traces.Tracer(), grace: d.grace(), allow: allow, observer: d.narrator.worker()})
	if err != nil {
		return err
	}
	d.closers = append(d.closers, d.crew.close)
	d.pages, err = newDashboard(dashboard.Config{Redis: d.rdb, Store: d.store, Stop: ctx.Done(), Backlog: d.backlog, Log: d.log, Sample: d.sendSample}, d.cfg, d.crew.bucket, d.embedded != nil)
	if err != nil {
		return err
	}
	d.closers = append(d.closers, func() error { d.pages.Close(); return nil })
	return d.crew.bucket.Check(ctx)
}

// openRedis connects to the configured Redis, or starts one in memory.
func (d *dev) openRedis(ctx context.Context) (err error) {
	d.redisURL = d.cfg.RedisURL
	if d.cfg.Origin("KLINGHOOK_REDIS_URL") == config.FromDefault {
		if d.embedded, err = startEmbeddedRedis(); err != nil {
			return err
		}
		d.closers = append(d.closers, d.embedded.close)
		d.redisURL = d.embedded.url
	}
	cfg := *d.cfg
	cfg.RedisURL = d.redisURL
	client, err := cli.OpenRedis(&cfg, d.log)
	if err != nil {
		return err
	}
	d.rdb = client // open until the process ends, like a worker's
	if err := pingRedis(ctx, d.cfg, client, "start it, or unset KLINGHOOK_REDIS_URL for a queue in memory"); err != nil {
		return err
	}
	return nil
}

// openQueue opens the queue for events.
func (d *dev) openQueue(ctx context.Context) error {
	if d.embedded != nil {
		d.queue, d.check = storeFirst{d.store, tasks.NewClient(d.rdb)}, process.RedisCheck(d.rdb)
		d.spoolPercent = func() int { return 0 }
		return nil
	}
	queue, err := cli.OpenQueue(d.cfg, d.rdb, d.log, d.metrics)
	if err != nil {
		return err
	}
	queue.Start(ctx)
	d.closers = append(d.closers, func() error { queue.Close(); return nil })
	d.queue, d.check, d.spoolPercent = queue, cli.QueueCheck(queue), queue.Percent
	return nil
}

// grace returns how long running tasks may take to finish. A queue in memory is drained
// first, and each of the two gets half of the grace period.
func (d *dev) grace() time.Duration {
	if d.embedded != nil {
		return d.cfg.Grace / 2
	}
	return d.cfg.Grace
}

// close undoes open, last step first.
func (d *dev) close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(errs...)
}

// run receives and processes events until ctx ends, and then finishes the current work.
func (d *dev) run(ctx context.Context) error {
	endpoints, err := d.endpoints()
	if err != nil {
		return err
	}
	health := process.NewHealth(d.log, d.check, process.Dependency{Name: "database", Probe: d.store.CheckWritable})
	server := ingest.New(ingest.Config{
		Endpoints: endpoints, Queue: d.queue, Samples: tasks.NewClient(d.rdb), MaxBody: d.cfg.MaxBody, Check: d.check.Probe, Repeated: cli.NoteRepeats(d.rdb, d.log), Tested: cli.NoteTests(d.rdb, d.log),
		Live: health.Live, Ready: health.Ready, Log: d.log, Metrics: d.metrics, Tracer: d.traces.Tracer(), Observe: d.narrator.ingest(),
	})
	private := admin.Handler(admin.Config{
		Live: health.Live, Ready: health.Ready, Metrics: d.metrics, Profiles: cli.Profiles(d.cfg), Dashboard: d.pages,
	})
	var public http.Handler = server
	if d.skipVerify {
		d.cfg.Addr = unverifiedAddr(d.cfg)
		public = admin.ProtectOpen(d.cfg.Addr, server)
	}
	server.Start(ctx)
	defer server.Close()
	go cli.ReportIngest(ctx, d.rdb, d.log, cli.Version(version), server.Refused, d.spoolPercent)
	go cli.ReportWorker(ctx, d.rdb, d.log, cli.Version(version))
	stopAlerts, err := watchAlerts(ctx, d.cfg, d.rdb, d.log)
	if err != nil {
		return err
	}
	defer stopAlerts()
	listeners := process.NewListeners(d.log)
	here, err := d.listen(ctx, listeners, private, public)
	if err != nil {
		return err
	}
	if err := d.crew.worker.Start(ctx); err != nil {
		removeDevAddresses(d.cfg.Data)
		return errors.Join(err, listeners.Close())
	}
	d.greet(here, endpoints)
	err = listeners.Wait(ctx)
	fmt.Fprintln(d.out, "\nStopping: finishing the work in progress. Press Ctrl-C again to stop at once.")
	return errors.Join(err, d.stop(context.WithoutCancel(ctx), listeners))
}

// unverifiedAddr returns the address for deliveries without signatures: a loopback address
// unless one is configured.
func unverifiedAddr(cfg *config.Config) string {
	_, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil || cfg.Origin("KLINGHOOK_ADDR") != config.FromDefault {
		return cfg.Addr
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// endpoints returns the endpoints for deliveries. Unsigned callbacks need credentials for
// Kling's API.
func (d *dev) endpoints() ([]ingest.Endpoint, error) {
	endpoints, _, err := ingest.Endpoints(d.secrets.list)
	if err != nil {
		return nil, err
	}
	if !hasCredentials(d.cfg) {
		endpoints = slices.DeleteFunc(endpoints, func(endpoint ingest.Endpoint) bool { return len(endpoint.Tokens) > 0 })
	}
	if d.skipVerify {
		for i := range endpoints {
			endpoints[i].Source = source.Unverified(endpoints[i].Source)
		}
	}
	return endpoints, nil
}

// listen binds both addresses and writes them to a file for the other commands.
func (d *dev) listen(ctx context.Context, listeners *process.Listeners, private, public http.Handler) (devAddresses, error) {
	adminAddr, err := cli.Listen(ctx, listeners, cli.Service{Name: "admin", Setting: "KLINGHOOK_ADMIN_ADDR", Addr: d.cfg.AdminAddr, Handler: private})
	if err != nil {
		return devAddresses{}, err
	}
	addr, err := cli.Listen(ctx, listeners, cli.Service{Name: "webhooks", Setting: "KLINGHOOK_ADDR", Addr: d.cfg.Addr, Handler: public, Public: true})
	if err != nil {
		return devAddresses{}, errors.Join(err, listeners.Close())
	}
	here := devAddresses{Webhooks: "http://" + reachable(addr), Admin: "http://" + adminAddr, Sample: d.sample.url(), Redis: d.redisURL}
	d.webhooks.Store(&here.Webhooks)
	if err := here.write(d.cfg.Data); err != nil {
		return here, errors.Join(err, listeners.Close())
	}
	return here, nil
}

// stop stops receiving, drains a queue in memory, and shuts down the worker.
func (d *dev) stop(ctx context.Context, listeners *process.Listeners) error {
	removeDevAddresses(d.cfg.Data)
	err := listeners.Shutdown(ctx, d.cfg.Grace)
	if d.embedded != nil {
		ctx, cancel := context.WithTimeout(ctx, d.grace())
		defer cancel()
		if drainErr := d.crew.worker.Drain(ctx); drainErr != nil {
			d.log.Warn("the grace period ended before all work was done", zap.Error(drainErr))
		}
	}
	d.crew.worker.Shutdown()
	return err
}

// greet prints the addresses and directories.
func (d *dev) greet(here devAddresses, endpoints []ingest.Endpoint) {
	out := d.out
	fmt.Fprintf(out, "\nklinghook dev is running; Ctrl-C stops it.\n\n")
	for _, endpoint := range endpoints {
		if len(endpoint.Tokens) > 0 {
			path := strings.Replace(endpoint.Protocol.Path, ":token", "<"+endpoint.Protocol.SecretSetting+">", 1)
			fmt.Fprintf(out, "  send to   %s%s\n  unsigned  each callback only makes klinghook ask Kling about its job\n", here.Webhooks, path)
			continue
		}
		fmt.Fprintf(out, "  send to   %s%s\n", here.Webhooks, endpoint.Protocol.Path)
		if d.skipVerify {
			continue
		}
		fmt.Fprintf(out, "  secret    %s\n", d.secrets.describe(endpoint.Protocol.SecretSetting, d.showSecrets))
	}
	fmt.Fprintf(out, "  pages     %s/\n", here.Admin)
	fmt.Fprintf(out, "  jobs in   %s\n", d.cfg.Value("KLINGHOOK_DATABASE_URL"))
	fmt.Fprintf(out, "  media in  %s\n\n", d.cfg.Value("KLINGHOOK_BUCKET_URL"))
	if d.kling != nil {
		d.kling.greet(out, here.Webhooks)
	} else {
		fmt.Fprintf(out, "  try       %s send --lifecycle%s\n\n", commandName(), d.dataFlag())
	}
	if len(d.cfg.CallbackTokens) > 0 && !hasCredentials(d.cfg) {
		fmt.Fprintf(out, "Unsigned callbacks are off: klinghook would have to ask Kling about their jobs, which needs KLINGAI_API_KEY.\n\n")
	}
	if d.embedded != nil {
		fmt.Fprintf(out, "The queue is in memory; events are in the database before they are answered with 200.\nSet KLINGHOOK_REDIS_URL=redis://localhost:6379 to use a queue in Redis instead.\n\n")
	}
	if d.narrator != nil {
		fmt.Fprintf(out, "Each step is printed below, on one line; --log-format console shows the log instead.\n\n")
	}
	if d.skipVerify {
		fmt.Fprintf(out, "!! SIGNATURES ARE NOT CHECKED (--insecure-skip-verify): anybody who reaches %s can\n!! make up events. Never do this where others can reach it.\n\n", here.Webhooks)
	}
}

// dataFlag returns the flag with which other commands find the same data, if any.
func (d *dev) dataFlag() string {
	switch {
	case d.cfg.Origin("KLINGHOOK_DATA") == config.FromDefault:
		return ""
	case strings.ContainsFunc(d.cfg.Data, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`'"$`+"`\\", r) }):
		return " --data '" + strings.ReplaceAll(d.cfg.Data, "'", `'\''`) + "'"
	}
	return " --data " + d.cfg.Data
}
