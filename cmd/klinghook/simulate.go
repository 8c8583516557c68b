package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/simulate"
	"github.com/klinghook/klinghook/internal/source"
)

const (
	// simulateAddr is the default listen address of simulate.
	simulateAddr = "127.0.0.1:5010"
	// simulateGrace is how long downloads may continue after an interrupt.
	simulateGrace = 2 * time.Second
)

// simulateOptions are the flags of simulate.
type simulateOptions struct {
	simulate.Config
	addr, protocol string
	signs          []string // says where the secrets for signing come from
}

func simulateCommand() *cobra.Command {
	var options simulateOptions
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run a fake Kling, whose jobs take seconds and cost nothing",
		Long: `simulate runs a fake Kling on this machine. A job goes through its states in
seconds, calls its callback_url at each change, and has a small video to download.
Nothing is generated, and nothing costs anything.

It has Kling's documented calls for creating jobs and looking them up: POST
/v1/videos/text2video (and the other kinds), GET /v1/videos/text2video/<id>, POST
/text-to-video/<model> and GET /tasks. It accepts any credentials, unless --api-key or
--access-key is given. If a prompt contains "simulate 1301", or another documented error
code, the call fails with that code.

Callbacks are signed with the secrets in the settings, or with those of a "klinghook
dev" on the same data directory; without a secret they are unsigned.

Flags make it fail as Kling does. A share is a number from 0 to 1. With the same --seed,
jobs created in the same order fail in the same way. GET /simulator/stats counts what
happened. To let klinghook download the media, add this address to
KLINGHOOK_MEDIA_ALLOW.

Anyone who can reach it can make it post to any URL. An --addr that others can reach
therefore needs --api-key or --secret-key. The Host header of requests must be localhost
or the host of --addr, if that has one. --parallel and --keep limit its memory.`,
		Example: `  klinghook simulate
  klinghook simulate --lost 0.3 --repeat 0.2 --reorder 0.2 --seed 7
  klinghook simulate --dead-links 0.5 --broken-media 0.2 --media-size 500MiB
  klinghook simulate --protocol seed --duration 30s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runSimulate(cmd, options) },
	}
	options.addFlags(cmd)
	return cmd
}

func (o *simulateOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&o.addr, "addr", simulateAddr, "listen at `host:port`; port 0 is any free one")
	flags.Uint64Var(&o.RandomSeed, "seed", 0, "`number` that seeds all random choices (default: a random one)")
	flags.DurationVar(&o.Duration, "duration", simulate.DefaultDuration, "`time` that a job takes")
	flags.StringVar(&o.protocol, "protocol", string(simulate.AsCreated), "the `form` of callbacks: "+strings.Join(simulateProtocols(), ", "))
	flags.BoolVar(&o.Unsigned, "unsigned", false, "do not sign, as for an account without a Webhook Secret")
	flags.Float64Var(&o.Fail, "fail", 0, "`share` of jobs that fail")
	flags.Float64Var(&o.Cancel, "cancel", 0, "`share` of jobs that are cancelled")
	flags.Float64Var(&o.Lost, "lost", 0, "`share` of callbacks that are never sent")
	flags.Float64Var(&o.Repeat, "repeat", 0, "`share` of callbacks that are sent twice")
	flags.Float64Var(&o.Reorder, "reorder", 0, "`share` of callbacks that are sent after the next one")
	flags.Float64Var(&o.Late, "late", 0, "`share` of callbacks that are late")
	flags.DurationVar(&o.LateBy, "late-by", simulate.DefaultLateBy, "delay late callbacks by this `time`")
	flags.IntVar(&o.Attempts, "attempts", simulate.DefaultAttempts, "post a callback at most `n` times until it is answered with 2xx")
	flags.Float64Var(&o.DeadLinks, "dead-links", 0, "`share` of jobs with dead links in callbacks (403, 404 or 410); a look-up returns new ones")
	flags.Float64Var(&o.NoMedia, "no-media", 0, "`share` of jobs with callbacks that report success without links; a look-up returns them")
	flags.DurationVar(&o.LinkTTL, "link-ttl", simulate.DefaultLinkTTL, "`time` after which links expire")
	flags.Var((*sizeFlag)(&o.MediaSize), "media-size", "serve made-up videos of this `size` (default: a small video that can be played)")
	flags.Var((*sizeFlag)(&o.SlowMedia), "slow-media", "limit each download to this `size` a second (default: no limit)")
	flags.Float64Var(&o.BrokenMedia, "broken-media", 0, "`share` of jobs with a video that breaks off in the middle; the download can be resumed")
	flags.Float64Var(&o.LookupRate, "lookup-rate", 0, "answer `n` look-ups a second and refuse others with 1302; 0 means no limit")
	flags.Float64Var(&o.Trouble, "trouble", 0, "`share` of calls that are answered with 500, 503 or 504")
	flags.BoolVar(&o.Drift, "drift", false, "vary the shape of answers, as Kling has done before")
	flags.StringVar(&o.APIKey, "api-key", "", "accept only this made-up `key`")
	flags.StringVar(&o.AccessKey, "access-key", "", "accept only JWTs of this made-up access `key`, with --secret-key")
	flags.StringVar(&o.SecretKey, "secret-key", "", "the made-up `key` that signs the JWTs")
	flags.IntVar(&o.Parallel, "parallel", simulate.DefaultParallel, "run at most `n` jobs at once and refuse others with 1303")
	flags.IntVar(&o.Keep, "keep", simulate.DefaultKeep, "remember `n` finished jobs")
	cli.AddFlags(cmd, config.Client, append(secretSettings(), "KLINGHOOK_DATA")...)
}

// simulateProtocols are the values of simulate's --protocol.
func simulateProtocols() []string {
	return append([]string{string(simulate.AsCreated)}, sendProtocols()...)
}

func runSimulate(cmd *cobra.Command, options simulateOptions) (err error) {
	if err := options.check(); err != nil {
		return err
	}
	options.Protocol = simulate.CallbackFormat(options.protocol)
	if !cmd.Flags().Changed("seed") {
		options.RandomSeed = mathrand.Uint64N(1_000_000) // short enough to type
	}
	cfg, err := load(config.Client, cmd)
	if err != nil {
		return err
	}
	if err := options.readSecrets(cfg); err != nil {
		return err
	}
	if options.Video, err = samples.ReadFile("sample/video.mp4"); err != nil {
		return fmt.Errorf("open sample: %w", err)
	}
	simulator, err := simulate.New(cmd.Context(), options.Config)
	if err != nil {
		return cli.Usagef("%w", err)
	}
	defer simulator.Close()
	return options.run(cmd.Context(), cmd.OutOrStdout(), cfg, simulator)
}

// check rejects zeros, which simulate.New would replace with defaults, and an address that
// others can reach without a key.
func (o *simulateOptions) check() error {
	if err := oneOf("protocol", o.protocol, simulateProtocols()); err != nil {
		return err
	}
	for flag, n := range map[string]int{"attempts": o.Attempts, "parallel": o.Parallel, "keep": o.Keep} {
		if n < 1 {
			return cli.Usagef("--%s must be at least 1, not %d", flag, n)
		}
	}
	for flag, d := range map[string]time.Duration{"duration": o.Duration, "late-by": o.LateBy, "link-ttl": o.LinkTTL} {
		if d <= 0 {
			return cli.Usagef("--%s must be more than 0, not %s", flag, d)
		}
	}
	if !admin.IsLoopback(o.addr) && o.APIKey == "" && o.SecretKey == "" {
		return cli.Usagef("others may reach --addr %q and make it post anywhere; use a loopback address, such as %s, or set --api-key", o.addr, simulateAddr)
	}
	return nil
}

// readSecrets reads the secrets that klinghook verifies with.
func (o *simulateOptions) readSecrets(cfg *config.Config) error {
	for _, protocol := range source.Protocols() {
		secrets, from, err := openedSecrets(cfg, protocol.SecretSetting)
		if err != nil {
			return err
		}
		if len(secrets) == 0 {
			continue
		}
		o.signs = append(o.signs, fmt.Sprintf("for %s with the secret from %s", protocol.Path, from))
		if protocol.Name == protocolNamed(simulate.Seed).Name {
			o.SeedSecret = secrets[0]
		} else {
			o.OfficialSecret = secrets[0]
		}
	}
	return nil
}

// run serves until ctx ends.
func (o *simulateOptions) run(ctx context.Context, out io.Writer, cfg *config.Config, simulator *simulate.Simulator) error {
	log, err := process.NewLogger(process.LogConfig{Level: "info", Format: "auto", Coloured: cli.Coloured(os.Stderr), File: os.Stderr})
	if err != nil {
		return err
	}
	listeners := process.NewListeners(log)
	addr, err := listeners.Add(ctx, "simulate", o.addr, admin.ProtectOpen(o.addr, simulator))
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; another program uses this address: stop it, or choose another one with --addr", err)
	}
	if err != nil {
		return err
	}
	o.greet(ctx, out, cfg, addr)
	err = listeners.Wait(ctx)
	// Interrupted downloads are not an error.
	if shutdownErr := listeners.Shutdown(context.WithoutCancel(ctx), simulateGrace); !errors.Is(shutdownErr, context.DeadlineExceeded) {
		err = errors.Join(err, shutdownErr)
	}
	simulator.Close()
	stats := simulator.Stats()
	c := stats.Callbacks
	fmt.Fprintf(out, "\nStopped. Jobs: %d. Callbacks: %d delivered, %d lost, %d given up, %d not sent.\n", stats.Jobs.Created, c.Delivered, c.Lost, c.GivenUp, c.Waiting)
	return err
}

// greet prints the addresses and how to create a job.
func (o *simulateOptions) greet(ctx context.Context, out io.Writer, cfg *config.Config, listens string) {
	// Links have the host of the request that creates the job. Workers elsewhere need this
	// machine's name there, and in the Compose stack the service's.
	seen, name := reachable(listens), ""
	host, port, err := net.SplitHostPort(listens)
	switch machine, nameErr := os.Hostname(); {
	case err != nil:
	case inCompose():
		seen, name = "127.0.0.1:"+cmp.Or(os.Getenv("SIMULATE_PORT"), port), "simulate:"+port
	case nameErr == nil && net.ParseIP(host).IsUnspecified():
		name = net.JoinHostPort(machine, port)
	}
	webhooks := "http://" + reachable(cfg.Addr)
	if here, devRuns := readDevAddresses(ctx, cfg.Data); devRuns {
		webhooks = here.Webhooks
	}
	key := "any"
	switch o.APIKey {
	case "":
	case "simulated": // the default of docker-compose.yml
		key = o.APIKey
	default:
		key = "<the --api-key>"
	}
	signs := strings.Join(o.signs, "\n            ")
	if o.Unsigned || signs == "" {
		signs = "nothing"
	}
	fmt.Fprintf(out, "\nklinghook simulate is running; Ctrl-C stops it.\n\n")
	fmt.Fprintf(out, "  API       http://%s\n", seen)
	fmt.Fprintf(out, "  stats     http://%s/simulator/stats\n", seen)
	fmt.Fprintf(out, "  seed      %d\n", o.RandomSeed)
	fmt.Fprintf(out, "  signs     %s\n\n", signs)
	fmt.Fprintf(out, "  try       %s\n\n", tryCreate(seen, name, key, webhooks+protocolNamed(o.Protocol).Path))
	fmt.Fprintf(out, "To let klinghook download from here, add %s to KLINGHOOK_MEDIA_ALLOW.\n\n", cmp.Or(name, seen))
}

// tryCreate returns a command that creates a job at a fake Kling. If name is not empty, the
// job's links have it instead of the address.
func tryCreate(addr, name, key, callbackURL string) string {
	if name != "" {
		name = fmt.Sprintf(" -H 'Host: %s'", name)
	}
	return fmt.Sprintf(`curl http://%s/v1/videos/text2video -H 'Authorization: Bearer %s' -d '{"prompt": "A lighthouse at dawn", "callback_url": %q}'%s`, addr, key, callbackURL, name)
}

// sizeFlag is a number of bytes.
type sizeFlag int64

// String implements pflag.Value.
func (f *sizeFlag) String() string {
	return sizeText(int64(*f)) // empty without a default
}

// Set implements pflag.Value.
func (f *sizeFlag) Set(text string) error {
	if *f = sizeFlag(config.ParseSize(text)); *f == 0 {
		return errors.New("not a size")
	}
	return nil
}

// Type implements pflag.Value. The error for other values shows it.
func (*sizeFlag) Type() string { return "a size, such as 64KiB or 2GiB" }
