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
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/process"
)

// Service is a handler at the address of a setting.
type Service struct {
	Name    string // for logs, such as "admin"
	Setting string // the variable of the address
	Addr    string // host:port
	Handler http.Handler
	Public  bool // reachable from the internet
	// FallbackLog, if set, lets the service use a free port of the same host if its own is
	// in use, and logs that. Two programs can then run with default addresses.
	FallbackLog *zap.Logger
}

// PrivateService returns the private service of a process. name says what it serves.
func PrivateService(name string, cfg *config.Config, private http.Handler, log *zap.Logger) Service {
	service := Service{Name: name, Setting: "KLINGHOOK_ADMIN_ADDR", Addr: cfg.AdminAddr, Handler: private}
	if cfg.Origin(service.Setting) == config.FromDefault {
		service.FallbackLog = log
	}
	return service
}

// Profiles returns the handler of a private address's profiles, or nil if they are off.
func Profiles(cfg *config.Config) http.Handler {
	if !cfg.Profiles {
		return nil
	}
	return admin.LocalProfiles()
}

// Listen starts a service and returns its address. Its error says which setting to change.
func Listen(ctx context.Context, l *process.Listeners, service Service) (string, error) {
	add := l.Add
	if service.Public {
		add = l.AddPublic
	}
	addr, err := add(ctx, service.Name, service.Addr, service.Handler)
	advice := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && service.FallbackLog != nil:
		host, _, _ := net.SplitHostPort(service.Addr) // valid: only its port is in use
		if addr, err = l.Add(ctx, service.Name, net.JoinHostPort(host, "0"), service.Handler); err == nil {
			service.FallbackLog.Warn("the default address is in use: listening on a free port",
				zap.String("for", service.Name), zap.String("default", service.Addr), zap.String("address", addr), zap.String("setting", service.Setting))
		}
		return addr, err
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "another program listens there: stop it, or choose another address with"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		advice = "this machine has no such address: choose another with"
	case errors.Is(err, syscall.EACCES):
		advice = "this user may not listen there: choose a port above 1023 with"
	default:
		return addr, err
	}
	return "", fmt.Errorf("%w; %s %s", err, advice, config.Lookup(service.Setting).Title())
}
