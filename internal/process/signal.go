package process

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Signals returns a context that ends at the first SIGINT or SIGTERM, on which
// the process should stop in good order. A second signal, or one that comes when
// the context has ended for another reason, calls now, which should end the
// process at once.
//
// The returned function ends the context and gives the signals their usual
// meaning back; it may be called more than once.
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
