package process

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Signals returns a context that ends at the first SIGINT or SIGTERM, so that the
// process can shut down gracefully. Any signal after the context has ended calls now,
// which should end the process at once.
//
// The returned function ends the context and restores the default handling of both
// signals. It may be called more than once.
func Signals(ctx context.Context, now func()) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	stopped := make(chan struct{})
	go func() {
		for {
			select {
			case <-signals:
				if ctx.Err() != nil {
					now()
					return
				}
				cancel()
			case <-stopped:
				return
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		cancel()
		close(stopped)
	})
}
