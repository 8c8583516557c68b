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
	// failed gets the error of a server that ended by itself.
	failed chan error
}

// NewListeners returns no listeners yet.
func NewListeners(log *zap.Logger) *Listeners {
	return &Listeners{log: log, failed: make(chan error, 1)}
}

// Add binds addr ("host:port"; port 0 takes a free one) and serves handler on it
// from now on. It returns the bound address. Headers must arrive within 5 s and a
// whole request within 15 s, so that slow senders hold no connection for long.
// When it fails, what was added before is closed.
func (l *Listeners) Add(ctx context.Context, name, addr string, handler http.Handler) (string, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return "", errors.Join(fmt.Errorf("listen for %s: %w", name, err), l.Close())
	}
	// Without TLS, what net/http has to say is a handler's panic, or that no
	// connection can be accepted.
	errorLog, err := zap.NewStdLogAt(l.log.Named(name), zap.ErrorLevel)
	if err != nil {
		return "", errors.Join(fmt.Errorf("listen for %s: %w", name, err), listener.Close(), l.Close())
	}
	server := &http.Server{
		Addr:              listener.Addr().String(),
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          errorLog,
	}
	l.servers = append(l.servers, server)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			select {
			case l.failed <- fmt.Errorf("serve %s: %w", name, err):
			default: // one reason to stop is enough
			}
		}
	}()
	l.log.Info("listening", zap.String("for", name), zap.String("address", server.Addr))
	return server.Addr, nil
}

// Wait returns when ctx ends, or with the error of a listener that failed.
func (l *Listeners) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-l.failed:
		return err
	}
}

// Shutdown stops taking connections on all listeners and lets the requests in
// hand finish, for as long as grace; then it cuts them off, which is an error.
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
