package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/source"
	"github.com/klinghook/klinghook/tasks"
)

// sendOptions are what the flags of send say.
type sendOptions struct {
	protocol, url, secret  string
	jobID                  string
	lifecycle, fail        bool
	count, duplicates      int
	rate                   float64
	shuffle, unsigned      bool
	videoURL, thumbnailURL string
	videos                 int
	event                  string
}

func sendCommand() *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send [event]",
		Short: "Sign and post deliveries, as Kling would",
		Long: `send makes up deliveries, signs them and posts them. The event is created,
processing, completed (the default), failed, cancelled, or with the seed protocol
any other name; --lifecycle sends a whole job from created to completed, or with
--fail to failed.

While "klinghook dev" runs on the same data folder, send finds its address, its
secrets and its sample media by itself. Elsewhere give --url, set
KLINGAI_WEBHOOK_SECRET (KLINGAI_OFFICIAL_WEBHOOK_SECRET for the official
protocols), and --video-url if something is to be downloaded.

It fails when a delivery is answered with anything but 200.`,
		Example: `  klinghook send --lifecycle
  klinghook send failed --job-id vid_abc123
  klinghook send --lifecycle --protocol official --count 100 --duplicates 2 --shuffle
  klinghook send completed --url https://hooks.example.com/webhooks/klingai --video-url https://cdn.example.com/a.mp4`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			o.event = tasks.TypeCompleted
			if len(given) > 0 {
				o.event = given[0]
			}
			if len(given) > 0 && o.lifecycle {
				return cli.Usagef("give an event or --lifecycle, not both")
			}
			return runSend(cmd, o)
		},
		ValidArgs: []string{"created", "processing", "completed", "failed", "cancelled"},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.protocol, "protocol", "seed", "how to sign and word deliveries: seed, official or official-legacy")
	fs.StringVar(&o.url, "url", "", "where to post (default: the running dev's, else this machine at KLINGHOOK_ADDR)")
	fs.StringVar(&o.secret, "secret", "", "the secret to sign with; the variable or its file is better, for arguments can be seen by others")
	fs.StringVar(&o.jobID, "job-id", "", "the job's id (default: made up; with --count, its beginning)")
	fs.BoolVar(&o.lifecycle, "lifecycle", false, "send a whole job: created, processing, completed")
	fs.BoolVar(&o.fail, "fail", false, "let the lifecycle end in failed")
	fs.IntVar(&o.count, "count", 1, "how many jobs")
	fs.Float64Var(&o.rate, "rate", 0, "deliveries a second at most; 0 is as fast as they are answered")
	fs.IntVar(&o.duplicates, "duplicates", 0, "how often each delivery is sent again")
	fs.BoolVar(&o.shuffle, "shuffle", false, "send everything in random order")
	fs.BoolVar(&o.unsigned, "unsigned", false, "do not sign (dev --insecure-skip-verify takes it)")
	fs.StringVar(&o.videoURL, "video-url", "", "the video's link (default: the running dev's sample)")
	fs.StringVar(&o.thumbnailURL, "thumbnail-url", "", "the thumbnail's link, seed protocol only (default: the running dev's sample)")
	fs.IntVar(&o.videos, "videos", 1, "how many videos a job has, official protocols only")
	cli.AddFlags(fs, config.Client)
	return cmd
}

func runSend(cmd *cobra.Command, o sendOptions) error {
	cfg, err := load(config.Client, cmd)
	if err != nil {
		return err
	}
	if o.count < 1 || o.duplicates < 0 || o.rate < 0 || o.videos < 1 {
		return cli.Usagef("--count and --videos are 1 at least, --duplicates and --rate not below 0")
	}
	protocol, err := protocolNamed(o.protocol)
	if err != nil {
		return err
	}
	if err := o.fill(cmd.Context(), cfg, protocol); err != nil {
		return err
	}
	writer := deliveryWriter{protocol: o.protocol, secret: o.secret, unsigned: o.unsigned, videoURL: o.videoURL, thumbnailURL: o.thumbnailURL, videos: o.videos}
	jobs, err := writer.jobs(o)
	if err != nil {
		return err
	}
	return post(cmd.Context(), cmd.OutOrStdout(), plan(jobs, o), o)
}

// protocolNamed returns the protocol that --protocol names.
func protocolNamed(name string) (source.Protocol, error) {
	path := map[string]string{protocolSeed: "klingai", protocolOfficial: "klingai-official", protocolOfficialLegacy: "klingai-official"}[name]
	at := slices.IndexFunc(source.Protocols(), func(p source.Protocol) bool { return p.Name == path })
	if at < 0 {
		return source.Protocol{}, cli.Usagef("--protocol is %q; it can be %s, %s or %s", name, protocolSeed, protocolOfficial, protocolOfficialLegacy)
	}
	return source.Protocols()[at], nil
}

// fill completes the options from the running dev and the settings.
func (o *sendOptions) fill(ctx context.Context, cfg *config.Config, p source.Protocol) error {
	here, devRuns := readDevAddresses(ctx, cfg.Data)
	local := o.url == ""
	if local {
		base := here.Webhooks
		if !devRuns {
			_, port, err := net.SplitHostPort(cfg.Addr)
			if err != nil {
				return cli.Usagef("KLINGHOOK_ADDR: %w", err)
			}
			base = "http://localhost:" + port
		}
		o.url = base + p.Path
	}
	// The sample is on this machine; to another it means nothing.
	if devRuns && local {
		o.videoURL = firstNonEmpty(o.videoURL, here.Sample+"/video.mp4")
		o.thumbnailURL = firstNonEmpty(o.thumbnailURL, here.Sample+"/thumbnail.jpg")
	}
	o.videoURL = firstNonEmpty(o.videoURL, "https://example.com/test-video.mp4")
	o.thumbnailURL = firstNonEmpty(o.thumbnailURL, "https://example.com/test-thumb.jpg")
	if o.unsigned || o.secret != "" {
		return nil
	}
	secrets, err := openedSecrets(cfg, p.SecretSetting)
	if err != nil {
		return err
	}
	if len(secrets) == 0 {
		return cli.Usagef("no secret to sign with: set %s, or start `klinghook dev`, which makes one in %s", p.SecretSetting, cfg.Data)
	}
	o.secret = secrets[0]
	return nil
}

func firstNonEmpty(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// plan lays out the deliveries of all jobs: job after job, each in its order, or
// everything shuffled.
func plan(jobs [][]delivery, o sendOptions) [][]delivery {
	var lanes [][]delivery
	for _, job := range jobs {
		var lane []delivery
		for _, d := range job {
			lane = append(lane, slices.Repeat([]delivery{d}, o.duplicates+1)...)
		}
		lanes = append(lanes, lane)
	}
	if !o.shuffle {
		return lanes
	}
	all := slices.Concat(lanes...)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	lanes = lanes[:0]
	for d := range slices.Chunk(all, 1) {
		lanes = append(lanes, d)
	}
	return lanes
}

// eventType is what the user's word for an event means.
func eventType(word string) string {
	if !strings.Contains(word, ".") && slices.Contains(tasks.KnownTypes(), "video."+word) {
		return "video." + word
	}
	return word
}

// jobs makes up the deliveries of each job.
func (w deliveryWriter) jobs(o sendOptions) ([][]delivery, error) {
	var jobs [][]delivery
	for i := range o.count {
		id := o.jobID
		switch {
		case id == "":
			id = "vid_" + randomID()
		case o.count > 1:
			id = fmt.Sprintf("%s-%d", id, i+1)
		}
		var moments []moment
		if o.lifecycle {
			moments = lifecycle(o.fail)
		} else {
			moments = []moment{{eventType: eventType(o.event), progress: 50}}
		}
		job, err := w.deliveries(id, moments)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, job)
	}
	return jobs, nil
}
