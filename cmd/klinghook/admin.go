package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/admin/login"
	"github.com/klinghook/klinghook/internal/doctor"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
	"github.com/klinghook/klinghook/worker/media"
)

func adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Serve the pages and the API",
		Long: `admin serves pages of jobs and failures at /, an API for programs at /api/v1 (described
at /api/v1/docs), asynq's pages at /queues, and /healthz, /readyz and /metrics, which need
no login. Give it the settings of a worker: it needs Redis, the database and the bucket.

On a loopback address, the default, everybody on this machine can use the pages. On
other addresses it requires a login: a user with a password hash from "klinghook admin
hash-password", a bearer token, or a header set by an authenticating reverse proxy. To
encrypt passwords and cookies, use a proxy with TLS or an SSH tunnel.

Operators can change everything. Viewers can see everything and change nothing:
KLINGHOOK_ADMIN_VIEWER_USER, users with a token of KLINGHOOK_ADMIN_VIEWER_TOKEN, users of
the proxy that are not in KLINGHOOK_ADMIN_OPERATORS, and everybody with --read-only.`,
		Example: `  klinghook admin                        # http://127.0.0.1:5001/
  klinghook admin --read-only
  export KLINGHOOK_ADMIN_TOKEN=$(openssl rand -hex 32)
  klinghook admin --admin-addr :5001 --admin-hosts queue.example.com`,
		Args: cobra.NoArgs,
		RunE: runAdmin,
	}
	cmd.AddCommand(hashPasswordCommand())
	cli.AddFlags(cmd, config.Admin)
	return cmd
}

func runAdmin(cmd *cobra.Command, _ []string) (err error) {
	ctx := cmd.Context()
	cfg, log, err := loadWithLog(config.Admin, cmd)
	if err != nil {
		return err
	}
	metrics := admin.NewMetrics(cli.Version(version))
	rdb, err := cli.OpenRedis(cfg, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, rdb.Close)
	gate := login.New(login.Config{
		User: cfg.AdminUser, PasswordHash: cfg.AdminPasswordHash, ViewerUser: cfg.AdminViewer, ViewerPasswordHash: cfg.AdminViewerHash, Tokens: cfg.AdminTokens, ViewerTokens: cfg.AdminViewerTokens,
		ProxyHeader: cfg.AdminProxyHeader, Proxies: networks(cfg.AdminProxies), Operators: cfg.AdminOperators, ReadOnly: cfg.ReadOnly,
		Prefix: cfg.AdminPrefix, Hosts: ownHosts(cfg), Redis: rdb, Log: log, Metrics: metrics,
	})
	if err := checkLogin(cfg, gate); err != nil {
		return err
	}
	db, err := store.Prepare(ctx, cfg.DatabaseURL)
	if err != nil {
		return databaseError(cfg, err)
	}
	defer closeInto(&err, db.Close)
	bucket, err := openBucket(ctx, cfg)
	if err != nil {
		return err
	}
	defer closeInto(&err, bucket.Close)
	stopAlerts, err := watchAlerts(ctx, cfg, rdb, log)
	if err != nil {
		return err
	}
	defer stopAlerts()
	logout := ""
	if gate.HasPage() {
		logout = cfg.AdminPrefix + login.LogoutPath
	}
	backlog := dashboard.NewBacklog(ctx, dashboard.BacklogConfig{Redis: rdb, EventShards: cfg.EventShards, Store: db, Log: log})
	defer backlog.Close()
	metrics.MustRegister(backlog)
	pages, err := newDashboard(dashboard.Config{Prefix: cfg.AdminPrefix, Hosts: ownHosts(cfg), LogoutPath: logout, Redis: rdb, Store: db, Stop: ctx.Done(), Backlog: backlog, Log: log}, cfg, bucket, false)
	if err != nil {
		return err
	}
	defer pages.Close()
	health := process.NewHealth(log, process.RedisCheck(rdb), process.Dependency{Name: "database", Probe: db.CheckWritable})
	private := admin.Config{Live: health.Live, Ready: health.Ready, Metrics: metrics, Prefix: cfg.AdminPrefix, Profiles: cli.Profiles(cfg), Dashboard: gate.Protect(pages), Login: gate}
	if len(gate.Methods()) > 0 {
		private.Profiles = gate.Protect(admin.Profiles())
	}
	listeners := process.NewListeners(log)
	if _, err := cli.Listen(ctx, listeners, cli.PrivateService("admin", cfg, admin.Handler(private), log)); err != nil {
		return err
	}
	logAccess(log, cfg, gate)
	if err = await(ctx, log, redisDependency(cfg, rdb), databaseDependency(cfg, db)); err == nil || ctx.Err() != nil {
		err = listeners.Wait(ctx)
	}
	log.Info("stopping")
	return errors.Join(err, listeners.Shutdown(context.WithoutCancel(ctx), cfg.Grace))
}

// newDashboard completes the configuration of the dashboard and returns the dashboard.
// embedded reports whether Redis runs in this process.
func newDashboard(parts dashboard.Config, cfg *config.Config, bucket *media.Bucket, embedded bool) (*dashboard.Dashboard, error) {
	sources, err := openedSources(cfg)
	if err != nil {
		return nil, err
	}
	eraser := &worker.Eraser{Redis: parts.Redis, Store: parts.Store, Bucket: bucket, EventShards: cfg.EventShards, Now: time.Now}
	parts.EventShards, parts.LinkLifetime, parts.LookupAfter, parts.Version, parts.Bucket, parts.WebhookAddr = cfg.EventShards, cfg.StoredLinkLifetime, cfg.LookupAfter, cli.Version(version), bucket, cfg.Addr
	parts.Worker = &worker.Replayer{Redis: parts.Redis, Store: parts.Store, EventShards: cfg.EventShards, Sources: sources, Now: time.Now}
	parts.Checks = func(context.Context) []doctor.Check {
		return slices.Concat(redisChecks(cfg, parts.Redis, embedded), storageChecks(cfg), klingChecks(cfg))
	}
	parts.Erase = func(ctx context.Context, job tasks.JobKey) error {
		_, err := eraser.Erase(ctx, job)
		return err
	}
	return dashboard.New(parts), nil
}

// checkLogin rejects an address that others can reach if there is no login.
func checkLogin(cfg *config.Config, gate *login.Gate) error {
	if admin.IsLoopback(cfg.AdminAddr) || len(gate.Methods()) > 0 {
		return nil
	}
	return cli.Usagef("KLINGHOOK_ADMIN_ADDR (--admin-addr) is %q: others can reach it and could delete everything. Set a login: "+
		"KLINGHOOK_ADMIN_USER and KLINGHOOK_ADMIN_PASSWORD_HASH, which `klinghook admin hash-password` prints; "+
		"or KLINGHOOK_ADMIN_TOKEN, with the output of `openssl rand -hex 32`; "+
		"or KLINGHOOK_ADMIN_PROXY_HEADER and KLINGHOOK_ADMIN_PROXIES, behind an authenticating proxy. Or use a loopback address, such as 127.0.0.1:5001", cfg.AdminAddr)
}

// logAccess logs who can use the pages, and from where.
func logAccess(log *zap.Logger, cfg *config.Config, gate *login.Gate) {
	fields := []zap.Field{zap.String("path", cfg.AdminPrefix+"/"), zap.Bool("read_only", cfg.ReadOnly), zap.Strings("hosts", ownHosts(cfg))}
	switch methods := gate.Methods(); {
	case len(methods) == 0:
		log.Info("pages and API are open to everybody on this machine", fields...)
	case admin.IsLoopback(cfg.AdminAddr):
		log.Info("pages and API are served on this machine, with a login", append(fields, zap.Strings("login", methods))...)
	default:
		log.Warn("pages and API can be reached from other machines, with a login; put TLS in front of them", append(fields, zap.Strings("login", methods))...)
	}
}

// ownHosts returns the host names of the pages: KLINGHOOK_ADMIN_HOSTS and the host of
// KLINGHOOK_ADMIN_ADDR.
func ownHosts(cfg *config.Config) []string {
	hosts := cfg.AdminHosts
	host, _, _ := net.SplitHostPort(cfg.AdminAddr) // config has validated it
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		hosts = append(hosts[:len(hosts):len(hosts)], host)
	}
	return hosts
}

// networks parses addresses and networks, which config has validated.
func networks(items []string) []netip.Prefix {
	var list []netip.Prefix
	for _, item := range items {
		if ip, err := netip.ParseAddr(item); err == nil {
			ip = ip.Unmap()
			list = append(list, netip.PrefixFrom(ip, ip.BitLen()))
		} else if network, err := netip.ParsePrefix(item); err == nil {
			list = append(list, network)
		}
	}
	return list
}

func hashPasswordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash-password",
		Short: "Print the hash of a password, for KLINGHOOK_ADMIN_PASSWORD_HASH",
		Long: `hash-password asks for a password, or reads it from standard input if that is not a
terminal, and prints its bcrypt hash. In a Compose file or its .env, write each $ of
the hash as $$, or put the hash between single quotes.`,
		Example: `  klinghook admin hash-password
  openssl rand -base64 18 | tee /dev/stderr | klinghook admin hash-password`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := readPassword(cmd)
			if err != nil {
				return err
			}
			if len(password) < minPassword {
				return cli.Usagef("the password has %d characters; it must have at least %d", len(password), minPassword)
			}
			hash, err := bcrypt.GenerateFromPassword([]byte(password), passwordCost)
			if errors.Is(err, bcrypt.ErrPasswordTooLong) {
				return cli.Usagef("the password is longer than the 72 bytes that bcrypt accepts")
			}
			if err != nil {
				return fmt.Errorf("hash password: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), string(hash))
			return nil
		},
	}
}

const (
	minPassword  = 10
	passwordCost = 12 // a login takes about a quarter of a second
)

// readPassword asks for a password on the terminal, or reads a line of standard input.
func readPassword(cmd *cobra.Command) (string, error) {
	if file, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), "Password: ")
		password, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(password), err
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
