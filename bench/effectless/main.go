// Command effectless is a klinghook worker whose events have no effect:
//
//	effectless -redis host:port
//
// It is made as `klinghook worker` makes its own, with the servers, the concurrency, the
// log and the metrics that this has, but recording an event does nothing. So it shows
// what klinghook adds to asynq. It is no contestant of bench/contestant, which links
// nothing that a user would not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
	"github.com/klinghook/klinghook/worker/media"
	"github.com/klinghook/klinghook/worker/notify"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	redisAddr := flag.String("redis", "127.0.0.1:6379", "where Redis is")
	flag.Parse()
	err := run(ctx, *redisAddr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "effectless:", err)
		os.Exit(1)
	}
}

// run works until ctx ends.
func run(ctx context.Context, redisAddr string) (err error) {
	dir, err := os.MkdirTemp("", "effectless-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Nothing comes into it; a worker's sweeps look for what is owed.
	db, err := store.Create(ctx, "sqlite:"+filepath.Join(dir, "klinghook.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.Migrate(ctx); err != nil {
		return err
	}
	bucket, err := media.OpenBucket(ctx, "file://"+dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bucket.Close()) }()
	log, err := process.NewLogger(process.LogConfig{Level: "info", Format: "json", File: os.Stderr})
	if err != nil {
		return err
	}
	rdb, err := process.NewRedis("redis://" + redisAddr + "/0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rdb.Close()) }()
	notifier, err := notify.New(notify.Config{})
	if err != nil {
		return err
	}
	defer notifier.Close()
	w, err := worker.New(worker.Config{
		Redis: rdb, Store: db, Fetcher: media.NewFetcher(media.Config{}), Bucket: bucket, Notify: notifier,
		Concurrency: map[string]int{tasks.QueueEvents: 64, tasks.QueueMedia: 4, tasks.QueueNotify: 8, tasks.QueueRejections: 1}, // KLINGHOOK_QUEUES's default
		Log:         log, Metrics: prometheus.NewRegistry(),
		Work: map[tasks.Kind]func(context.Context, []byte) error{
			tasks.KindEventRecord: func(context.Context, []byte) error { return nil },
		},
	})
	if err != nil {
		return err
	}
	if err := w.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	w.Shutdown()
	return nil
}
