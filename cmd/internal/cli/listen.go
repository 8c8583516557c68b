package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"

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
}

// Listen serves an endpoint from now on and returns its bound address. Where the
// address cannot be had, the error says which setting to change.
func Listen(ctx context.Context, l *process.Listeners, e Endpoint) (string, error) {
	addr, err := l.Add(ctx, e.Name, e.Addr, e.Handler)
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

func flagOf(setting string) string {
	for _, s := range config.Settings() {
		if s.Name == setting {
			return "--" + s.Flag
		}
	}
	return ""
}
