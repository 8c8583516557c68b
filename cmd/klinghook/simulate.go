package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/simulate"
	"github.com/klinghook/klinghook/internal/source"
)

// simulateAddr is where simulate listens unless it is told otherwise.
const simulateAddr = "127.0.0.1:5010"

// simulateGrace is how long downloads may go on once simulate stops.
const simulateGrace = 2 * time.Second

// simulateOptions are what the flags of simulate say.
type simulateOptions struct {
	simulate.Config
	addr, protocol string
	// signs says where the secrets are from that callbacks are signed with.
	signs []string
}

func simulateCommand() *cobra.Command {
	var o simulateOptions
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Be Kling: jobs in seconds that call back, without an account",
		Long: `simulate runs a Kling on this machine. A job that is created moves through its
states in seconds, calls its callback_url at each change, and has a small video to
download. Nothing is generated, and nothing costs anything.

It has the API's documented calls: POST and GET /v1/videos/text2video (and the
other kinds), GET /v1/videos/text2video/<id>, POST /text-to-video/<model>, GET and
POST /tasks, and POST /v1/webhooks, by which "klinghook webhooks register" works.
Any credentials will do, unless some are set. A prompt that contains "simulate
1301", or another documented code, is refused with it.

Callbacks are signed with the secrets in the settings, or those that a "klinghook
dev" on the same data folder has made; without a secret they are unsigned.

What can go wrong with Kling goes wrong here on demand: shares are numbers from 0
to 1. The same --seed gives the same fates to jobs created in the same order.
GET /simulator/stats tells what happened. klinghook downloads the media only where
KLINGHOOK_MEDIA_ALLOW names this address.

Whoever reaches it can have it post anywhere: an --addr that others can reach
needs an --api-key. Memory is bounded by --parallel and --keep.`,
		Example: `  klinghook simulate
  klinghook simulate --lost 0.3 --repeat 0.2 --reorder 0.2 --seed 7
  klinghook simulate --dead-links 0.5 --broken-media 0.2 --media-size 500MiB
  klinghook simulate --protocol seed --duration 30s`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runSimulate(cmd, o) },
	}
	o.addFlags(cmd)
	return cmd
}

func (o *simulateOptions) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.addr, "addr", simulateAddr, "listen at `host:port`; port 0 takes a free one")
	fs.Uint64Var(&o.RandomSeed, "seed", 0, "`number` from which all fates follow (default: another one each time)")
	fs.DurationVar(&o.Duration, "duration", simulate.DefaultDuration, "a job takes this `time`")
	fs.StringVar(&o.protocol, "protocol", string(simulate.AsCreated), "the `form` of callbacks: "+strings.Join(simulateProtocols(), ", "))
	fs.BoolVar(&o.Unsigned, "unsigned", false, "sign nothing, as for an account without a Webhook Secret")
	fs.Float64Var(&o.Fail, "fail", 0, "`share` of jobs that fail")
	fs.Float64Var(&o.Cancel, "cancel", 0, "`share` of jobs that end cancelled")
	fs.Float64Var(&o.Lost, "lost", 0, "`share` of callbacks that are never sent")
	fs.Float64Var(&o.Repeat, "repeat", 0, "`share` of callbacks that are sent twice")
	fs.Float64Var(&o.Reorder, "reorder", 0, "`share` of callbacks that are sent after the next one")
	fs.Float64Var(&o.Late, "late", 0, "`share` of callbacks that are late")
	fs.DurationVar(&o.LateBy, "late-by", simulate.DefaultLateBy, "how late they are, a `time`")
	fs.IntVar(&o.Attempts, "attempts", simulate.DefaultAttempts, "post a callback `n` times at most until it is answered with 2xx")
	fs.Float64Var(&o.DeadLinks, "dead-links", 0, "`share` of jobs whose links in callbacks are dead (403, 404 or 410); a look-up gives fresh ones")
	fs.DurationVar(&o.LinkTTL, "link-ttl", simulate.DefaultLinkTTL, "links live this `time`")
	fs.Var((*sizeFlag)(&o.MediaSize), "media-size", "videos of this `size`, made up as they are sent (default: a small one that can be played)")
	fs.Var((*sizeFlag)(&o.SlowMedia), "slow-media", "the `size` that a download gets in a second (default: no limit)")
	fs.Float64Var(&o.BrokenMedia, "broken-media", 0, "`share` of jobs whose video breaks off in the middle; it can be resumed")
	fs.Float64Var(&o.LookupRate, "lookup-rate", 0, "answer `n` look-ups a second, others with 1302; 0 is no limit")
	fs.Float64Var(&o.Trouble, "trouble", 0, "`share` of calls that are answered with 500, 503 or 504")
	fs.BoolVar(&o.Drift, "drift", false, "answer in the shapes that Kling's are known to drift to")
	fs.StringVar(&o.APIKey, "api-key", "", "take no `key` but this")
	fs.StringVar(&o.AccessKey, "access-key", "", "take JWTs of this access `key` only, with --secret-key")
	fs.StringVar(&o.SecretKey, "secret-key", "", "the `key` that signs the JWTs")
	fs.IntVar(&o.Parallel, "parallel", simulate.DefaultParallel, "have `n` jobs in hand at most; others are refused with 1303")
	fs.IntVar(&o.Keep, "keep", simulate.DefaultKeep, "remember `n` jobs to which nothing more happens")
	completes(cmd, "protocol", simulateProtocols()...)
	names := []string{"KLINGHOOK_DATA"}
	for _, p := range source.Protocols() {
		names = append(names, p.SecretSetting)
	}
	settings(cmd, config.Client, names...)
}

func simulateProtocols() []string {
	var names []string
	for _, p := range simulate.Protocols() {
		names = append(names, string(p))
	}
	return names
}

func runSimulate(cmd *cobra.Command, o simulateOptions) (err error) {
	if err := oneOf("protocol", o.protocol, simulateProtocols()); err != nil {
		return err
	}
	o.Protocol = simulate.Protocol(o.protocol)
	if err := o.check(); err != nil {
		return err
	}
	if !cmd.Flags().Changed("seed") {
		o.RandomSeed = mathrand.Uint64N(1_000_000) // short, to be typed again
	}
	cfg, err := load(config.Client, cmd)
	if err != nil {
		return err
	}
	if err := o.openSecrets(cfg); err != nil {
		return err
	}
	if o.Video, err = samples.ReadFile("sample/video.mp4"); err != nil {
		return fmt.Errorf("open sample: %w", err)
	}
	simulator, err := simulate.New(o.Config)
	if err != nil {
		return cli.Usagef("%w", err)
	}
	return o.run(cmd.Context(), cmd.OutOrStdout(), cfg, simulator)
}

// check refuses what simulate.New would take for its defaults, and an address
// that is open to all.
func (o *simulateOptions) check() error {
	for flag, n := range map[string]int{"attempts": o.Attempts, "parallel": o.Parallel, "keep": o.Keep} {
		if n < 1 {
			return cli.Usagef("--%s is %d; it takes a number from 1", flag, n)
		}
	}
	for flag, d := range map[string]time.Duration{"duration": o.Duration, "late-by": o.LateBy, "link-ttl": o.LinkTTL} {
		if d <= 0 {
			return cli.Usagef("--%s is %s; it takes a time that is more", flag, d)
		}
	}
	if !admin.IsLoopback(o.addr) && o.APIKey == "" && o.SecretKey == "" {
		return cli.Usagef("--addr is %q, which others may reach and have it post anywhere; write a loopback address, such as %s, or set --api-key", o.addr, simulateAddr)
	}
	return nil
}

// openSecrets takes the secrets that klinghook verifies with.
func (o *simulateOptions) openSecrets(cfg *config.Config) error {
	for _, p := range source.Protocols() {
		secrets, from, err := openedSecrets(cfg, p.SecretSetting)
		if err != nil {
			return err
		}
		if len(secrets) == 0 {
			continue
		}
		o.signs = append(o.signs, fmt.Sprintf("for %s with the secret from %s", p.Path, from))
		if p.Name == protocolNamed(protocolSeed).Name {
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
	simulator.Start(ctx)
	defer simulator.Close()
	listeners := process.NewListeners(log)
	addr, err := listeners.Add(ctx, "simulate", o.addr, simulator)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; another program listens there: stop it, or choose another address with --addr", err)
	}
	if err != nil {
		return err
	}
	o.greet(ctx, out, cfg, reachable(addr))
	err = listeners.Wait(ctx)
	// A download that is cut off is no failure: it can be resumed elsewhere.
	if shutdownErr := listeners.Shutdown(context.WithoutCancel(ctx), simulateGrace); !errors.Is(shutdownErr, context.DeadlineExceeded) {
		err = errors.Join(err, shutdownErr)
	}
	simulator.Close()
	stats := simulator.Stats()
	c := stats.Callbacks
	fmt.Fprintf(out, "\nStopped. Jobs: %d. Callbacks: %d delivered, %d lost, %d given up, %d not sent.\n", stats.Jobs.Created, c.Delivered, c.Lost, c.GivenUp, c.Waiting)
	return err
}

// greet prints where everything is, and how to create a job.
func (o *simulateOptions) greet(ctx context.Context, out io.Writer, cfg *config.Config, addr string) {
	protocol := protocolNamed(protocolOfficial)
	if o.Protocol == simulate.Seed {
		protocol = protocolNamed(protocolSeed)
	}
	receiver := "http://" + reachable(cfg.Addr)
	if here, devRuns := readDevAddresses(ctx, cfg.Data); devRuns {
		receiver = here.Webhooks
	}
	key := "any"
	if o.APIKey != "" {
		key = "<the --api-key>"
	}
	fmt.Fprintf(out, "\nklinghook simulate is running; Ctrl-C stops it.\n\n")
	fmt.Fprintf(out, "  API       http://%s\n", addr)
	fmt.Fprintf(out, "  stats     http://%s/simulator/stats\n", addr)
	fmt.Fprintf(out, "  seed      %d\n", o.RandomSeed)
	if o.Unsigned || len(o.signs) == 0 {
		fmt.Fprintf(out, "  signs     nothing\n")
	} else {
		fmt.Fprintf(out, "  signs     %s\n", strings.Join(o.signs, "\n            "))
	}
	fmt.Fprintf(out, "\n  try       curl http://%s/v1/videos/text2video -H 'Authorization: Bearer %s' -d '%s'\n\n", addr, key,
		`{"prompt": "A lighthouse at dawn", "callback_url": "`+receiver+protocol.Path+`"}`)
	fmt.Fprintf(out, "klinghook downloads from here where it is allowed to: KLINGHOOK_MEDIA_ALLOW=%s\n\n", addr)
}

// sizeFlag is a flag's number of bytes.
type sizeFlag int64

// String is pflag.Value's.
func (f *sizeFlag) String() string {
	if *f == 0 {
		return "" // no default to be shown
	}
	return humanize.IBytes(uint64(*f))
}

// Set is pflag.Value's.
func (f *sizeFlag) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 {
		return errors.New("not a size")
	}
	*f = sizeFlag(n)
	return nil
}

// Type is pflag.Value's; it is what the error says that the flag takes.
func (*sizeFlag) Type() string { return "a size, such as 64KiB or 2GiB" }
