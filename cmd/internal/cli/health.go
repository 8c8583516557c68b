package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// healthTimeout is how long a process may take to say that it is ready. Its own
// checks end after a second.
const healthTimeout = 3 * time.Second

// CheckHealth asks the process whose KLINGHOOK_ADMIN_ADDR is addr whether it is
// ready, and returns why it is not. It is for the health checks of containers that
// hold nothing but the program.
func CheckHealth(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "0" {
		return Usagef("KLINGHOOK_ADMIN_ADDR (--admin-addr) is %q, where nobody can be asked; give the address that the process was given, with its port", addr)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1" // it listens everywhere, here too
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", http.NoBody)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	// No proxy: what an environment says of those is not meant for this address.
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("check health: %w; is it running, and KLINGHOOK_ADMIN_ADDR (--admin-addr) the same?", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	why, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil {
		return errors.Join(fmt.Errorf("check health: it answers %s", res.Status), err)
	}
	return fmt.Errorf("check health: it answers %s: %s", res.Status, strings.TrimSpace(string(why)))
}
