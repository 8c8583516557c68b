package main

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/worker/alert"
	"github.com/klinghook/klinghook/worker/notify"
)

// alertNotifier returns the notifier of KLINGHOOK_ALERT_URLS.
func alertNotifier(cfg *config.Config) (*notify.Notifier, error) {
	notifier, err := notify.New(notify.Config{ChatURLs: cfg.AlertURLs})
	if err != nil {
		return nil, cli.Usagef("KLINGHOOK_ALERT_URLS: %w", err)
	}
	return notifier, nil
}

// watchAlerts sends alerts until ctx ends or stop is called, if there are destinations.
func watchAlerts(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, log *zap.Logger) (stop func(), err error) {
	notifier, err := alertNotifier(cfg)
	if err != nil || len(notifier.Names()) == 0 {
		return func() {}, err
	}
	watcher := alert.New(alert.Config{
		Redis: rdb, EventShards: cfg.EventShards, Destinations: notifier.Names(), Log: log,
		Send: func(ctx context.Context, destination, title, text string) error {
			_, err := notifier.Send(ctx, destination, notify.Message{ID: "alert_" + randomID(), Title: title, Text: text})
			return err
		},
	})
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { watcher.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
		notifier.Close()
	}, nil
}
