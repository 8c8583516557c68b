package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/doctor"
	"github.com/klinghook/klinghook/internal/simulate"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/worker/notify"
)

// doctorOptions are the flags of doctor.
type doctorOptions struct {
	url            string
	notify, asJSON bool
}

func doctorCommand() *cobra.Command {
	var options doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check an installation for common problems, and say how to fix them",
		Long: `doctor checks Redis (version, persistence, eviction, memory), the workers, the database
and its schema, the bucket (it writes and deletes an object), the credentials for Kling's
API, and this machine's clock. Run it with the settings of a worker. It prints one line
for each check: ok, warning or failed, what it found, and how to fix it. The exit status
is 1 if a check failed.

--url posts a test delivery, signed with the first secret of each protocol, to the public
URL of ingest. If the URL has no protocol's path, doctor adds the paths. ingest verifies
and answers a test delivery, but does not store it.

--notify sends a test message to each destination.

--json prints a list of objects with check, status (ok, warning, failed), found and, if
something is wrong, fix.`,
		Example: `  klinghook doctor
  klinghook doctor --url https://hooks.example.com --notify
  klinghook doctor --json | jq -r '.[] | select(.status != "ok") | .found'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd, options) },
	}
	cmd.Flags().StringVar(&options.url, "url", "", "post a signed test delivery to this public `URL` of ingest")
	cmd.Flags().BoolVar(&options.notify, "notify", false, "send a test message to each destination")
	jsonFlag(cmd, &options.asJSON)
	cli.AddFlags(cmd, config.All)
	return cmd
}

func runDoctor(cmd *cobra.Command, options doctorOptions) error {
	cfg, err := load(config.All, cmd)
	if err != nil {
		return err
	}
	deliveries, err := deliveryChecks(cfg, options.url)
	if err != nil {
		return err
	}
	checks := append(serverChecks(cmd.Context(), cfg), klingChecks(cfg)...)
	checks = append(append(checks, notifyChecks(cfg, options.notify)...), deliveries...)
	var all []doctor.Finding
	failures := 0
	for finding := range doctor.Run(cmd.Context(), checks) {
		all = append(all, finding)
		if finding.Status == doctor.Failed {
			failures++
		}
		if options.asJSON {
			continue
		}
		line := fmt.Sprintf("%-8s %-18s %s", finding.Status, finding.Check, finding.Found)
		if finding.Fix != "" {
			line += "; to fix it, " + finding.Fix
		}
		fmt.Fprintln(cmd.OutOrStdout(), oneLine(line))
	}
	if options.asJSON {
		err = printJSON(cmd.OutOrStdout(), all)
	}
	if failures > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d checks failed", failures, len(all)))
	}
	return cmp.Or(cmd.Context().Err(), err)
}

// serverChecks returns the checks of Redis, the workers, the database and the bucket.
func serverChecks(ctx context.Context, cfg *config.Config) []doctor.Check {
	ofDev := useDevRedis(ctx, cfg)
	rdb, err := cli.OpenRedis(cfg, zap.NewNop()) // open until the process ends: a check may still run
	if err != nil {
		return append([]doctor.Check{doctor.Broken("redis", err)}, storageChecks(cfg)...)
	}
	return append(redisChecks(cfg, rdb, ofDev), storageChecks(cfg)...)
}

func redisChecks(cfg *config.Config, rdb redis.UniversalClient, ofDev bool) []doctor.Check {
	return []doctor.Check{
		doctor.Redis(doctor.RedisConfig{
			Client: rdb, Where: cfg.Value("KLINGHOOK_REDIS_URL"), OfDev: ofDev,
			Ping: func(ctx context.Context) error {
				return pingRedis(ctx, cfg, rdb, "start it, or set KLINGHOOK_REDIS_URL (--redis-url) to another one")
			},
		}),
		doctor.Workers(rdb, cfg.EventShards),
		doctor.Ingests(rdb),
	}
}

// storageChecks returns the checks of the database and the bucket.
func storageChecks(cfg *config.Config) []doctor.Check {
	return []doctor.Check{
		doctor.Database(cfg.Value("KLINGHOOK_DATABASE_URL"), func(ctx context.Context) (*store.Store, error) {
			db, err := store.Open(ctx, cfg.DatabaseURL)
			if err != nil {
				return nil, databaseError(cfg, err)
			}
			return db, nil
		}),
		doctor.Bucket(cfg.Value("KLINGHOOK_BUCKET_URL"), func(ctx context.Context) error {
			bucket, err := openBucket(ctx, cfg)
			if err != nil {
				return err
			}
			return errors.Join(bucket.Check(ctx), bucket.Close())
		}),
	}
}

func klingChecks(cfg *config.Config) []doctor.Check {
	clock := doctor.KlingClock(cfg.APIURL)
	if !hasCredentials(cfg) {
		return []doctor.Check{doctor.KlingKey(nil, false), clock}
	}
	client, err := klingClient(cfg)
	if err != nil {
		return []doctor.Check{doctor.Broken("kling", err), clock}
	}
	return []doctor.Check{doctor.KlingKey(client, cfg.APIKey != ""), clock}
}

// notifyChecks returns a check for each destination of notifications and alerts.
func notifyChecks(cfg *config.Config, send bool) (checks []doctor.Check) {
	for _, use := range []struct {
		name string
		open func(*config.Config) (*notify.Notifier, error)
	}{{"notify", newNotifier}, {"alert", alertNotifier}} {
		notifier, err := use.open(cfg)
		if err != nil {
			checks = append(checks, doctor.Broken(use.name, err))
			continue
		}
		for _, name := range notifier.Names() {
			var try func(context.Context) error
			if send {
				message := notify.Message{
					ID: "doctor_" + randomID(), Type: source.TypeTest, At: time.Now(),
					Title: "klinghook: test", Text: "klinghook doctor sent this message. Nothing is wrong.",
				}
				try = func(ctx context.Context) error {
					_, err := notifier.Send(ctx, name, message)
					return err
				}
			}
			checks = append(checks, doctor.Destination(use.name+" "+name, try))
		}
	}
	return checks
}

// deliveryChecks returns a check for each protocol that has a secret or, if the URL has a
// protocol's path, for that one. It returns none without a URL.
func deliveryChecks(cfg *config.Config, rawURL string) (checks []doctor.Check, _ error) {
	if rawURL == "" {
		return nil, nil
	}
	base, err := url.Parse(rawURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" || base.User != nil || base.RawQuery != "" {
		return nil, cli.Usagef("--url must be the public http:// or https:// URL of ingest without login and query, such as https://hooks.example.com")
	}
	for _, protocol := range append(source.Protocols(), source.CallbackProtocol()) {
		secrets, _, err := openedSecrets(cfg, protocol.SecretSetting)
		if err != nil {
			return nil, err
		}
		target, named := targetOf(base, protocol)
		if len(secrets) == 0 && named {
			return []doctor.Check{doctor.Broken("delivery "+protocol.Name, fmt.Errorf("no secret to sign with: set %s to the same value as ingest", protocol.SecretSetting))}, nil
		}
		if len(secrets) == 0 {
			continue
		}
		check := doctor.Delivery(deliveryConfig(protocol, target, secrets[0]))
		if named {
			return []doctor.Check{check}, nil
		}
		checks = append(checks, check)
	}
	if len(checks) == 0 {
		return []doctor.Check{doctor.Broken("delivery", errors.New("no secret to sign with: set KLINGAI_WEBHOOK_SECRET or KLINGAI_OFFICIAL_WEBHOOK_SECRET to the same value as ingest"))}, nil
	}
	return checks, nil
}

// targetOf returns the URL for a protocol's deliveries. named reports whether base already
// has the protocol's path.
func targetOf(base *url.URL, protocol source.Protocol) (target *url.URL, named bool) {
	path, _, _ := strings.Cut(protocol.Path, "/:token")
	at := strings.TrimSuffix(base.Path, "/")
	if path != protocol.Path { // a token may follow; the settings have it too
		before, _, found := strings.Cut(at, path)
		return (&url.URL{Scheme: base.Scheme, Host: base.Host}).JoinPath(before, path), found
	}
	if strings.HasSuffix(at, path) {
		return base, true
	}
	return base.JoinPath(path), false
}

func deliveryConfig(protocol source.Protocol, target *url.URL, secret string) doctor.DeliveryConfig {
	delivery := doctor.DeliveryConfig{Source: protocol.Name, Setting: protocol.SecretSetting, Target: target.String(), Shown: target.String()}
	if protocol.Name == source.CallbackName {
		delivery.Target, delivery.Shown = target.JoinPath(secret).String(), target.String()+"/<token>"
		delivery.Sign = func(time.Time, []byte) (http.Header, error) { return http.Header{}, nil }
		return delivery
	}
	format := simulate.Official
	if protocol.Name == protocolNamed(simulate.Seed).Name {
		format = simulate.Seed
	}
	delivery.Sign = func(at time.Time, body []byte) (http.Header, error) {
		return format.Sign(secret, "doctor_"+randomID(), at, body)
	}
	return delivery
}
