package main

import (
	"context"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/cmd/internal/terminal"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// sendOptions are what the flags of send say.
type sendOptions struct {
	event                  string
	protocol, url, secret  string
	jobID                  string
	lifecycle, fail        bool
	count, duplicates      int
	rate                   float64
	shuffle, unsigned      bool
	videoURL, thumbnailURL string
	videos                 int
}

func sendCommand() *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send [event]",
		Short: "Sign and post deliveries, as Kling would",
		Long: `send makes up deliveries, signs them and posts them. The event is created,
processing, completed (the default), failed, cancelled, or with the seed protocol
any other name; --lifecycle sends a whole job from created to completed, and
--fail one that ends in failed.

While "klinghook dev" runs on the same data folder, send finds its address, its
secrets and its sample media by itself. Elsewhere give --url, set
KLINGAI_WEBHOOK_SECRET (KLINGAI_OFFICIAL_WEBHOOK_SECRET for the official
protocols), and KLINGHOOK_SAMPLE_URL or --video-url if something is to be
downloaded.

A job's deliveries are sent one after the other, several jobs side by side; with
--shuffle everything in random order. A delivery that is sent again is the same
event. It exits with 1 when a delivery is answered with anything but 200.`,
		Example: `  klinghook send --lifecycle
  klinghook send failed --job-id vid_abc123
  klinghook send --lifecycle --protocol official --count 100 --duplicates 2 --shuffle
  klinghook send --url https://hooks.example.com --video-url https://cdn.example.com/a.mp4`,
		Args: func(cmd *cobra.Command, given []string) error {
			if len(given) > 1 {
				return cli.Usagef("send takes one event, but was given %d: %s; --lifecycle sends a whole job", len(given), strings.Join(given, ", "))
			}
			return nil
		},
		ValidArgsFunction: completeEvent,
		RunE: func(cmd *cobra.Command, given []string) error {
			o.event = strings.Join(given, "")
			return runSend(cmd, o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func (o *sendOptions) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.BoolVar(&o.lifecycle, "lifecycle", false, "send a whole job: created, processing, completed")
	fs.BoolVar(&o.fail, "fail", false, "send a whole job that ends in failed")
	fs.StringVar(&o.jobID, "job-id", "", "the job's `id` (default: made up; with --count, its beginning)")
	fs.StringVar(&o.protocol, "protocol", protocolSeed, "the `form` in which deliveries are worded and signed: "+strings.Join(protocolNames(), ", "))
	fs.StringVar(&o.url, "url", "", "the `URL` to post to; without a path, the protocol's is added (default: that of the running dev, else of KLINGHOOK_ADDR on this machine)")
	fs.StringVar(&o.secret, "secret", "", "the `secret` to sign with; its variable or file is better, for others on this machine can see arguments")
	fs.BoolVar(&o.unsigned, "unsigned", false, "do not sign (dev --insecure-skip-verify takes it)")
	fs.IntVar(&o.count, "count", 1, "send `n` jobs")
	fs.IntVar(&o.duplicates, "duplicates", 0, "send each delivery `n` times more")
	fs.BoolVar(&o.shuffle, "shuffle", false, "send everything in random order")
	fs.Float64Var(&o.rate, "rate", 0, "send `n` deliveries a second at most; 0 is as fast as they are answered")
	fs.StringVar(&o.videoURL, "video-url", "", "the video's `link` (default: that of the sample, see KLINGHOOK_SAMPLE_URL)")
	fs.StringVar(&o.thumbnailURL, "thumbnail-url", "", "the thumbnail's `link`, with the seed protocol (default: that of the sample)")
	fs.IntVar(&o.videos, "videos", 1, "a job has `n` videos, with the official protocols")
	completes(cmd, "protocol", protocolNames()...)
	names := []string{"KLINGHOOK_ADDR", "KLINGHOOK_DATA", "KLINGHOOK_SAMPLE_URL"}
	for _, p := range source.Protocols() {
		names = append(names, p.SecretSetting)
	}
	settings(cmd, config.Client, names...)
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

func runSend(cmd *cobra.Command, o sendOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	cfg, err := load(config.Client, cmd)
	if err != nil {
		return err
	}
	protocol := protocolNamed(o.protocol)
	screen := terminal.New(os.Stdout, os.Stderr)
	p := poster{out: screen.Out(), screen: screen, perSecond: o.rate}
	if p.target, err = o.fill(cmd.Context(), cfg, protocol); err != nil {
		return err
	}
	secret, from, err := o.signWith(cfg, protocol)
	if err != nil {
		return err
	}
	p.secretFrom, p.secretSetting = from, protocol.SecretSetting
	p.writer = deliveryWriter{protocol: o.protocol, secret: secret, videoURL: o.videoURL, thumbnailURL: o.thumbnailURL, videos: o.videos}
	if !o.lifecycle && !slices.Contains(tasks.KnownTypes(), o.event) {
		cmd.PrintErrf("note: Kling is not known to send %q; it will be kept, and no job will move\n", o.event)
	}
	return p.post(cmd.Context(), o.plan())
}

// check completes and checks what does not depend on the settings.
func (o *sendOptions) check() error {
	official := o.protocol != protocolSeed
	if err := oneOf("protocol", o.protocol, protocolNames()); err != nil {
		return err
	}
	switch {
	case o.event != "" && (o.lifecycle || o.fail):
		return cli.Usagef("give an event, or --lifecycle or --fail for a whole job, but not both")
	case o.count < 1:
		return cli.Usagef("--count is %d; it takes a number from 1", o.count)
	case o.duplicates < 0:
		return cli.Usagef("--duplicates is %d; it takes a number from 0", o.duplicates)
	case !(o.rate >= 0): // NaN too
		return cli.Usagef("--rate is %v; it takes a number from 0", o.rate)
	case o.videos < 1:
		return cli.Usagef("--videos is %d; it takes a number from 1", o.videos)
	case o.videos > 1 && !official:
		return cli.Usagef("the seed protocol has one video per job; several (--videos) go with --protocol %s or %s", protocolOfficial, protocolOfficialLegacy)
	case o.thumbnailURL != "" && official:
		return cli.Usagef("only the seed protocol has thumbnails; leave out --thumbnail-url or --protocol")
	case o.unsigned && o.secret != "":
		return cli.Usagef("give --secret or --unsigned, not both")
	}
	o.lifecycle = o.lifecycle || o.fail
	o.event = eventType(firstNonEmpty(o.event, tasks.TypeCompleted))
	if _, known := officialStatus(o.event, o.protocol); official && !known {
		return cli.Usagef("Kling's callbacks have no %q; they have created, processing, completed and failed", o.event)
	}
	return nil
}

// fill completes the options from the running dev and the settings, and returns
// where to post.
func (o *sendOptions) fill(ctx context.Context, cfg *config.Config, p source.Protocol) (*url.URL, error) {
	here, devRuns := readDevAddresses(ctx, cfg.Data)
	base := o.url
	if base == "" && devRuns {
		base = here.Webhooks
	}
	if base == "" {
		base = "http://" + reachable(cfg.Addr)
	}
	target, err := url.Parse(base)
	if err != nil || (target.Scheme != "http" && target.Scheme != "https") || target.Hostname() == "" {
		return nil, cli.Usagef("--url takes an http:// or https:// URL, such as https://hooks.example.com%s", p.Path)
	}
	if strings.Trim(target.Path, "/") == "" {
		target.Path = p.Path
	}
	sample := cfg.SampleURL
	// That of dev is on this machine; to another it means nothing.
	if sample == "" && devRuns && here.receivesAt(target) {
		sample = here.Sample
	}
	if sample != "" {
		sample = strings.TrimSuffix(sample, "/")
		o.videoURL = firstNonEmpty(o.videoURL, sample+"/video.mp4")
		o.thumbnailURL = firstNonEmpty(o.thumbnailURL, sample+"/thumbnail.jpg")
	}
	o.videoURL = firstNonEmpty(o.videoURL, "https://example.com/test-video.mp4")
	o.thumbnailURL = firstNonEmpty(o.thumbnailURL, "https://example.com/test-thumb.jpg")
	return target, nil
}

// signWith returns the secret to sign with, none for --unsigned, and where it is
// from.
func (o *sendOptions) signWith(cfg *config.Config, p source.Protocol) (secret, from string, err error) {
	switch {
	case o.unsigned:
		return "", "", nil
	case o.secret != "":
		return o.secret, "--secret", nil
	}
	secrets, from, err := openedSecrets(cfg, p.SecretSetting)
	if err != nil {
		return "", "", err
	}
	if len(secrets) == 0 {
		return "", "", cli.Usagef("there is no secret to sign with: set %s to the one that ingest has, or start `klinghook dev`, which makes one in %s", p.SecretSetting, cfg.Data)
	}
	return secrets[0], from, nil
}

// receivesAt reports whether a URL is that of the running dev.
func (a devAddresses) receivesAt(target *url.URL) bool {
	own, err := url.Parse(a.Webhooks)
	if err != nil || own.Port() != target.Port() {
		return false
	}
	ip := net.ParseIP(target.Hostname())
	return own.Hostname() == target.Hostname() || target.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
}

func firstNonEmpty(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// eventType is what the user's word for an event means.
func eventType(word string) string {
	if full := "video." + word; slices.Contains(tasks.KnownTypes(), full) {
		return full
	}
	return word
}

// protocolNamed returns the protocol that a value of --protocol is a form of.
func protocolNamed(name string) source.Protocol {
	kept := map[string]string{protocolSeed: "klingai", protocolOfficial: "klingai-official", protocolOfficialLegacy: "klingai-official"}[name]
	all := source.Protocols()
	return all[slices.IndexFunc(all, func(p source.Protocol) bool { return p.Name == kept })]
}
