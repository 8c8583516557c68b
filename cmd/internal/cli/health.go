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

// healthTimeout exceeds the timeout of the process's own checks.
const healthTimeout = 3 * time.Second

// CheckHealth returns an error with the reason if the process with the KLINGHOOK_ADMIN_ADDR
// addr is not ready. It is for health checks of containers without a shell.
func CheckHealth(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "0" {
		return Usagef("KLINGHOOK_ADMIN_ADDR (--admin-addr) is %q: must be the address of the running process, with its port", addr)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", http.NoBody)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true} // uses no proxy and follows no redirect
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("check health: %w; is the process running with this KLINGHOOK_ADMIN_ADDR (--admin-addr)?", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	reason, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	return errors.Join(fmt.Errorf("check health: got %s: %s", res.Status, strings.TrimSpace(string(reason))), err)
}
