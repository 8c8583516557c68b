package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Listeners are the HTTP servers of a process.
type Listeners struct {
	log     *zap.Logger
	servers []*http.Server
	failed  chan error // the error of a server that stopped by itself
}

// NewListeners returns Listeners without any server.
func NewListeners(log *zap.Logger) *Listeners {
	return &Listeners{log: log, failed: make(chan error, 1)}
}

// Add listens on addr ("host:port"; port 0 picks a free one), starts to serve handler,
// and returns the bound address. Headers must arrive within 5 s and a whole request
// within 15 s, so that slow senders cannot keep a connection for long. An error does
// not affect the other listeners.
func (l *Listeners) Add(ctx context.Context, name, addr string, handler http.Handler) (string, error) {
	return l.add(ctx, name, addr, &http.Server{Handler: handler, MaxHeaderBytes: 32 << 10}, false)
}

// AddPublic is Add for strangers: they get 8 KiB for headers, and connections that wait
// for headers take bounded memory and file descriptors. The handler bounds the others.
func (l *Listeners) AddPublic(ctx context.Context, name, addr string, handler http.Handler) (string, error) {
	// net/http adds 4 KiB.
	return l.add(ctx, name, addr, &http.Server{Handler: handler, MaxHeaderBytes: 4 << 10}, true)
}

func (l *Listeners) add(ctx context.Context, name, addr string, server *http.Server, public bool) (string, error) {
	// net/http logs panics of handlers and failures to accept connections.
	errorLog, err := zap.NewStdLogAt(l.log.Named(name), zap.ErrorLevel)
	if err != nil {
		return "", fmt.Errorf("listen for %s: %w", name, err)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("listen for %s: %w", name, err)
	}
	if public {
		public := newPublicListener(listener, openFiles())
		listener, server.ConnState = public, public.changed
	}
	server.Addr, server.ErrorLog = listener.Addr().String(), errorLog
	server.ReadHeaderTimeout, server.ReadTimeout = 5*time.Second, 15*time.Second
	server.WriteTimeout, server.IdleTimeout = 30*time.Second, 2*time.Minute
	l.servers = append(l.servers, server)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			select {
			case l.failed <- fmt.Errorf("serve %s: %w", name, err):
			default: // another server failed first
			}
		}
	}()
	l.log.Info("listening", zap.String("for", name), zap.String("address", server.Addr))
	return server.Addr, nil
}

// Wait returns nil when ctx ends, or the error of a server that failed.
func (l *Listeners) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-l.failed:
		return err
	}
}

// Shutdown stops accepting connections on all listeners and waits up to grace for running
// requests. If some still run then, it closes their connections and returns an error.
func (l *Listeners) Shutdown(ctx context.Context, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	errs := make([]error, len(l.servers))
	var wg sync.WaitGroup
	for i, server := range l.servers {
		wg.Go(func() {
			if err := server.Shutdown(ctx); err != nil {
				errs[i] = errors.Join(fmt.Errorf("shut down listener on %s: %w", server.Addr, err), server.Close())
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close closes the listeners and their connections at once.
func (l *Listeners) Close() error {
	var errs []error
	for _, server := range l.servers {
		errs = append(errs, server.Close())
	}
	return errors.Join(errs...)
}
