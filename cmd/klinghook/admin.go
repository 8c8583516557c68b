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
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/admin/login"
	"github.com/klinghook/klinghook/internal/admin/queues"
	"github.com/klinghook/klinghook/internal/process"
)

func adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Serve the pages that show the queue",
		Long: `admin serves the pages at /queues, in which failed tasks can be looked into and
run again, and beside them /healthz, /readyz and /metrics, which anybody may ask
for. It needs Redis and nothing else.

On a loopback address, as by default, whoever is on this machine may use the
pages. To be reached from elsewhere it wants a login: a user and the hash of a
password, which "klinghook admin hash-password" makes, or a bearer token, or the
word of a reverse proxy that has logged the user in. What passwords and cookies
travel over should be encrypted: put it behind a proxy with TLS, or come through
an SSH tunnel.`,
		Example: `  klinghook admin                        # http://127.0.0.1:5001/queues
  klinghook admin --read-only
  export KLINGHOOK_ADMIN_TOKEN=$(openssl rand -hex 32)
  klinghook admin --admin-addr :5001 --admin-hosts queue.example.com`,
		Args: noArgs,
		RunE: runAdmin,
	}
	cmd.AddCommand(hashPasswordCommand())
	settings(cmd, config.Admin)
	return cmd
}

func runAdmin(cmd *cobra.Command, _ []string) (err error) {
	ctx := cmd.Context()
	cfg, log, err := loadWithLog(config.Admin, cmd)
	if err != nil {
		return err
	}
	metrics := admin.NewMetrics(cli.Version(version))
	redis.SetLogger(process.RedisLogger{Log: log})
	rdb, err := process.NewRedis(cfg.RedisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rdb.Close()) }()
	gate := login.New(login.Config{
		User: cfg.AdminUser, PasswordHash: cfg.AdminPasswordHash, Tokens: cfg.AdminTokens,
		ProxyHeader: cfg.AdminProxyHeader, Proxies: networks(cfg.AdminProxies),
		Home: admin.QueuesPath, Hosts: ownHosts(cfg), Redis: rdb, Log: log, Metrics: metrics,
	})
	if err := checkLogin(cfg, gate); err != nil {
		return err
	}
	logout := ""
	if gate.HasPage() {
		logout = login.LogoutPath
	}
	pages := queues.New(queues.Config{RootPath: admin.QueuesPath, Redis: rdb, Hosts: ownHosts(cfg), ReadOnly: cfg.ReadOnly, LogoutPath: logout})
	backlog := queues.NewBacklog(ctx, queues.BacklogConfig{Redis: rdb, EventShards: cfg.EventShards, Log: log})
	defer backlog.Close()
	metrics.MustRegister(backlog)
	health := process.NewHealth(log, process.RedisCheck(rdb))
	private := admin.Config{Live: health.Live, Ready: health.Ready, Metrics: metrics, Queues: gate.Protect(pages), Login: gate}
	if len(gate.Ways()) > 0 {
		private.Profiles = gate.Protect(admin.Profiles())
	}
	listeners := process.NewListeners(log)
	if _, err := cli.Listen(ctx, listeners, cli.AdminEndpoint(cfg, admin.Handler(private), log)); err != nil {
		return err
	}
	tellWhoMay(log, cfg, gate)
	err = listeners.Wait(ctx)
	log.Info("stopping")
	return errors.Join(err, listeners.Shutdown(context.WithoutCancel(ctx), cfg.Grace))
}

// checkLogin refuses an address that others reach when everybody would be let in.
func checkLogin(cfg *config.Config, gate *login.Gate) error {
	if admin.IsLoopback(cfg.AdminAddr) || len(gate.Ways()) > 0 {
		return nil
	}
	return cli.Usagef("KLINGHOOK_ADMIN_ADDR (--admin-addr) is %q: others reach that, and whoever does could delete every task. Set a login: "+
		"KLINGHOOK_ADMIN_USER and KLINGHOOK_ADMIN_PASSWORD_HASH, which `klinghook admin hash-password` prints; "+
		"or KLINGHOOK_ADMIN_TOKEN, to what `openssl rand -hex 32` prints; "+
		"or KLINGHOOK_ADMIN_PROXY_HEADER and KLINGHOOK_ADMIN_PROXIES, behind a proxy that logs people in. Or write a loopback address, such as 127.0.0.1:5001", cfg.AdminAddr)
}

// tellWhoMay says who is let in, and from where.
func tellWhoMay(log *zap.Logger, cfg *config.Config, gate *login.Gate) {
	fields := []zap.Field{zap.String("path", admin.QueuesPath), zap.Bool("read_only", cfg.ReadOnly), zap.Strings("hosts", ownHosts(cfg))}
	switch ways := gate.Ways(); {
	case len(ways) == 0:
		log.Info("queue pages are open to whoever is on this machine", fields...)
	case admin.IsLoopback(cfg.AdminAddr):
		log.Info("queue pages are served on this machine, with a login", append(fields, zap.Strings("login", ways))...)
	default:
		log.Warn("queue pages are open beyond this machine, with a login; passwords and cookies need TLS before them", append(fields, zap.Strings("login", ways))...)
	}
}

// ownHosts are the names by which the pages may be asked for: those of the settings,
// and the address that they are served at.
func ownHosts(cfg *config.Config) []string {
	hosts := cfg.AdminHosts
	host, _, _ := net.SplitHostPort(cfg.AdminAddr) // the settings have seen to its form
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		hosts = append(hosts[:len(hosts):len(hosts)], host)
	}
	return hosts
}

// networks reads addresses and networks, to whose form the settings have seen.
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
		Long: `hash-password asks for a password, or reads it from its standard input where that
is no terminal, and prints its bcrypt hash. In a compose file or its .env each $
of the hash must be written $$, or be between single quotes.`,
		Example: `  klinghook admin hash-password
  openssl rand -base64 18 | tee /dev/stderr | klinghook admin hash-password`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := readPassword(cmd)
			if err != nil {
				return err
			}
			if len(password) < leastPassword {
				return cli.Usagef("the password has %d characters: write %d or more, for whoever guesses it can delete every task", len(password), leastPassword)
			}
			hash, err := bcrypt.GenerateFromPassword([]byte(password), passwordCost)
			if errors.Is(err, bcrypt.ErrPasswordTooLong) {
				return cli.Usagef("the password is longer than 72 bytes, of which bcrypt takes no more: write a shorter one")
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
	leastPassword = 10
	// passwordCost makes a login take about a quarter of a second.
	passwordCost = 12
)

// readPassword asks for a password on the terminal, or reads a line of the standard
// input.
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
