package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/process"
)

// Endpoint is something that a process serves, at the address of a setting.
type Endpoint struct {
	// Name is what it is called in logs, e.g. "admin".
	Name string
	// Setting is the name of the setting that holds its address.
	Setting string
	// Addr is the address: host:port.
	Addr    string
	Handler http.Handler
	// Elsewhere, where set, lets the endpoint be served on a free port of the same
	// host when its own is in use, and says so in this log. It is for an address
	// that nobody chose: two programs with the same default may then stand side by
	// side.
	Elsewhere *zap.Logger
}

// AdminEndpoint is the private side of a process that runs for itself.
func AdminEndpoint(cfg *config.Config, private http.Handler, log *zap.Logger) Endpoint {
	e := Endpoint{Name: "admin", Setting: "KLINGHOOK_ADMIN_ADDR", Addr: cfg.AdminAddr, Handler: private}
	if cfg.Origin(e.Setting) == config.FromDefault {
		e.Elsewhere = log
	}
	return e
}

// Listen serves an endpoint from now on and returns its bound address. Where the
// address cannot be had, the error says which setting to change.
func Listen(ctx context.Context, l *process.Listeners, e Endpoint) (string, error) {
	addr, err := l.Add(ctx, e.Name, e.Addr, e.Handler)
	if errors.Is(err, syscall.EADDRINUSE) && e.Elsewhere != nil {
		return listenElsewhere(ctx, l, e)
	}
	var advice string
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "another program listens there: stop it, or choose another address with"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		advice = "this machine has no such address: choose another with"
	case errors.Is(err, syscall.EACCES):
		advice = "this user may not listen there: choose a port above 1023 with"
	default:
		return addr, err
	}
	return "", fmt.Errorf("%w; %s %s (%s)", err, advice, e.Setting, flagOf(e.Setting))
}

// listenElsewhere serves an endpoint on a free port.
func listenElsewhere(ctx context.Context, l *process.Listeners, e Endpoint) (string, error) {
	host, _, err := net.SplitHostPort(e.Addr)
	if err != nil {
		return "", fmt.Errorf("listen for %s: %w", e.Name, err)
	}
	addr, err := l.Add(ctx, e.Name, net.JoinHostPort(host, "0"), e.Handler)
	if err == nil {
		e.Elsewhere.Warn("the default address is in use: listening on a free port",
			zap.String("for", e.Name), zap.String("default", e.Addr), zap.String("address", addr), zap.String("setting", e.Setting))
	}
	return addr, err
}

func flagOf(setting string) string {
	for _, s := range config.Settings() {
		if s.Name == setting {
			return "--" + s.Flag
		}
	}
	return ""
}
