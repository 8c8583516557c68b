package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// secretVariable names the variable that holds the webhook's secret.
const secretVariable = "KLINGAI_WEBHOOK_SECRET"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "contestant:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// run is the program without its exit.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("name one of echo, plain, drain and delay")
	}
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	addr := fs.String("addr", "127.0.0.1:5000", "where to listen")
	redisAddr := fs.String("redis", "127.0.0.1:6379", "where Redis is")
	to := fs.String("to", "127.0.0.1:6379", "where delay connects to")
	each := fs.Duration("each", time.Millisecond, "how long delay delays each direction")
	queue := fs.String("queue", "events", "the queue that drain empties")
	concurrency := fs.Int("concurrency", 16, "how many tasks drain runs at once")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "echo":
		return serve(ctx, *addr, newEcho(discard))
	case "plain":
		return servePlain(ctx, *addr, *redisAddr, os.Getenv(secretVariable))
	case "drain":
		return drain(ctx, *redisAddr, *queue, *concurrency)
	case "delay":
		return delay(ctx, *addr, *to, *each)
	}
	return fmt.Errorf("there is no contestant %q", args[0])
}

// serve answers HTTP until ctx ends.
func serve(ctx context.Context, addr string, handler http.Handler) error {
	server := &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}
