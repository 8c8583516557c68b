package main

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/simulate"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// sendOptions are the flags of send.
type sendOptions struct {
	event                  string
	protocol, url          string
	jobID                  string
	lifecycle, fail        bool
	count, duplicates      int
	rate                   float64
	shuffle, unsigned      bool
	videoURL, thumbnailURL string
	videos                 int
	noMedia                bool
}

func sendCommand() *cobra.Command {
	var options sendOptions
	cmd := &cobra.Command{
		Use:   "send [event]",
		Short: "Sign and post deliveries like Kling",
		Long: `send signs deliveries and posts them as Kling does. The event is created, processing,
completed (the default), failed, cancelled or, in the seed protocol, any other name.

If "klinghook dev" runs on the same data directory, send uses its address, secrets and
sample media. Otherwise give --url and set the receiver's secret: KLINGAI_WEBHOOK_SECRET,
or KLINGAI_OFFICIAL_WEBHOOK_SECRET for the official protocols. To send links that can be
downloaded, also give KLINGHOOK_SAMPLE_URL or --video-url.

The deliveries of a job are sent in order, those of several jobs in parallel. The exit
code is 1 if any delivery is not answered with 200.`,
		Example: `  klinghook send --lifecycle
  klinghook send failed --job-id vid_abc123
  klinghook send --lifecycle --protocol official --count 100 --duplicates 2 --shuffle
  klinghook send --url https://hooks.example.com --video-url https://cdn.example.com/a.mp4`,
		Args: func(_ *cobra.Command, given []string) error {
			if len(given) > 1 {
				return cli.Usagef("send takes one event, not %d: %s; --lifecycle sends a whole job", len(given), strings.Join(given, ", "))
			}
			return nil
		},
		ValidArgsFunction: completeEvent,
		RunE: func(cmd *cobra.Command, given []string) error {
			options.event = strings.Join(given, "")
			return runSend(cmd, options)
		},
	}
	options.addFlags(cmd)
	return cmd
}

func (o *sendOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&o.lifecycle, "lifecycle", false, "send a whole job: created, processing, completed")
	flags.BoolVar(&o.fail, "fail", false, "send a whole job that ends in failed")
	flags.StringVar(&o.jobID, "job-id", "", "the job's `id`, with --count its prefix (default: a random one)")
	flags.StringVar(&o.protocol, "protocol", string(simulate.Seed), "the `form` and signature of deliveries: "+strings.Join(sendProtocols(), ", "))
	flags.StringVar(&o.url, "url", "", "post to this `URL`, by default with the protocol's path (default: the running dev's, else KLINGHOOK_ADDR on this machine)")
	flags.BoolVar(&o.unsigned, "unsigned", false, "do not sign (dev --insecure-skip-verify accepts it)")
	flags.IntVar(&o.count, "count", 1, "send `n` jobs")
	flags.IntVar(&o.duplicates, "duplicates", 0, "send each delivery `n` more times")
	flags.BoolVar(&o.shuffle, "shuffle", false, "send everything in random order")
	flags.Float64Var(&o.rate, "rate", 0, "send at most `n` deliveries a second; 0 means no limit")
	flags.StringVar(&o.videoURL, "video-url", "", "the video's `link` (default: the sample's, see KLINGHOOK_SAMPLE_URL)")
	flags.StringVar(&o.thumbnailURL, "thumbnail-url", "", "the thumbnail's `link`, seed protocol only (default: the sample's)")
	flags.IntVar(&o.videos, "videos", 1, "give a job `n` videos, official protocols only")
	flags.BoolVar(&o.noMedia, "no-media", false, "report success without links, as Kling sometimes does")
	cli.AddFlags(cmd, config.Client, append(secretSettings(), "KLINGHOOK_ADDR", "KLINGHOOK_DATA", "KLINGHOOK_SAMPLE_URL")...)
}

// sendProtocols are the values of send's --protocol.
func sendProtocols() []string {
	return []string{string(simulate.Seed), string(simulate.Official), string(simulate.OfficialLegacy)}
}

// secretSettings are the settings with the secrets of all protocols.
func secretSettings() []string {
	var names []string
	for _, protocol := range source.Protocols() {
		names = append(names, protocol.SecretSetting)
	}
	return names
}

// completeEvent completes the event's name.
func completeEvent(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, event := range tasks.KnownTypes() {
		if len(given) == 0 {
			words = append(words, strings.TrimPrefix(event, "video."))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func runSend(cmd *cobra.Command, options sendOptions) error {
	if err := options.check(); err != nil {
		return err
	}
	cfg, err := load(config.Client, cmd)
	if err != nil {
		return err
	}
	target, err := options.fill(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	secret, from, err := options.signWith(cfg)
	if err != nil {
		return err
	}
	if !options.lifecycle && !slices.Contains(tasks.KnownTypes(), options.event) {
		cmd.PrintErrf("note: %q is not a known event of Kling; klinghook stores it and changes no job\n", options.event)
	}
	screen := newConsole(os.Stdout, os.Stderr)
	p := poster{out: screen.Out(), screen: screen, target: target, protocol: simulate.CallbackFormat(options.protocol), secret: secret, secretFrom: from}
	return p.post(cmd.Context(), options.plan(), options.rate)
}

// check validates the flags and fills in defaults that do not depend on the settings.
func (o *sendOptions) check() error {
	official := o.protocol != string(simulate.Seed)
	if err := oneOf("protocol", o.protocol, sendProtocols()); err != nil {
		return err
	}
	switch {
	case o.event != "" && (o.lifecycle || o.fail):
		return cli.Usagef("give an event, or --lifecycle or --fail for a whole job, but not both")
	case o.count < 1:
		return cli.Usagef("--count must be at least 1, not %d", o.count)
	case o.duplicates < 0:
		return cli.Usagef("--duplicates must not be negative, but is %d", o.duplicates)
	case !(o.rate >= 0): // NaN too
		return cli.Usagef("--rate must be 0 or more, not %v", o.rate)
	case o.videos < 1:
		return cli.Usagef("--videos must be at least 1, not %d", o.videos)
	case o.videos > 1 && !official:
		return cli.Usagef("the seed protocol has one video per job; several need --protocol %s or %s", simulate.Official, simulate.OfficialLegacy)
	case o.thumbnailURL != "" && official:
		return cli.Usagef("only the seed protocol has thumbnails; leave out --thumbnail-url or --protocol")
	}
	o.lifecycle = o.lifecycle || o.fail
	o.event = cli.EventType(cmp.Or(o.event, tasks.TypeCompleted))
	if status := statusOf(o.event); official && (status == "" || status == simulate.Cancelled) {
		return cli.Usagef("the official protocols have no %q; they have created, processing, completed and failed", o.event)
	}
	return nil
}

// fill completes the links from the running dev and the settings, and returns the URL to
// post to.
func (o *sendOptions) fill(ctx context.Context, cfg *config.Config) (*url.URL, error) {
	here, devRuns := readDevAddresses(ctx, cfg.Data)
	if !devRuns {
		here = devAddresses{}
	}
	path := protocolNamed(simulate.CallbackFormat(o.protocol)).Path
	base := cmp.Or(o.url, here.Webhooks, "http://"+reachable(cfg.Addr))
	target, err := url.Parse(base)
	if err != nil || (target.Scheme != "http" && target.Scheme != "https") || target.Hostname() == "" {
		return nil, cli.Usagef("--url must be an http:// or https:// URL, such as https://hooks.example.com%s", path)
	}
	if target.User != nil {
		return nil, cli.Usagef("--url has a login, which other users of this machine can read; leave it out")
	}
	if strings.Trim(target.Path, "/") == "" {
		target.Path = path
	}
	sample := cfg.SampleURL
	// dev's sample is on this machine, where other receivers cannot download it.
	if sample == "" && here.receivesAt(target) {
		sample = here.Sample
	}
	video, thumbnail := "https://example.com/test-video.mp4", "https://example.com/test-thumb.jpg"
	if sample != "" {
		sample = strings.TrimSuffix(sample, "/")
		video, thumbnail = sample+"/video.mp4", sample+"/thumbnail.jpg"
	}
	o.videoURL, o.thumbnailURL = cmp.Or(o.videoURL, video), cmp.Or(o.thumbnailURL, thumbnail)
	return target, nil
}

// signWith returns the secret to sign with and where it comes from; empty for --unsigned.
func (o *sendOptions) signWith(cfg *config.Config) (secret, from string, err error) {
	if o.unsigned {
		return "", "", nil
	}
	setting := protocolNamed(simulate.CallbackFormat(o.protocol)).SecretSetting
	secrets, from, err := openedSecrets(cfg, setting)
	if err != nil {
		return "", "", err
	}
	if len(secrets) == 0 {
		return "", "", cli.Usagef("no secret to sign with: set %s to the receiver's secret, or start `klinghook dev`, which creates one in %s", setting, cfg.Data)
	}
	return secrets[0], from, nil
}

// receivesAt reports whether the running dev receives deliveries at a URL.
func (a devAddresses) receivesAt(target *url.URL) bool {
	own, err := url.Parse(a.Webhooks)
	if err != nil || own.Port() != target.Port() {
		return false
	}
	ip := net.ParseIP(target.Hostname())
	return own.Hostname() == target.Hostname() || target.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
}

// statusOf returns the status that an event reports; empty for an unknown event.
func statusOf(event string) simulate.State {
	for _, s := range []simulate.State{simulate.Submitted, simulate.Processing, simulate.Succeeded, simulate.Failed, simulate.Cancelled} {
		if simulate.SeedEvent(s) == event {
			return s
		}
	}
	return ""
}

// protocolNamed returns the protocol that receives a callback format.
func protocolNamed(p simulate.CallbackFormat) source.Protocol {
	name := "klingai-official"
	if p == simulate.Seed {
		name = "klingai"
	}
	all := source.Protocols()
	return all[slices.IndexFunc(all, func(protocol source.Protocol) bool { return protocol.Name == name })]
}
