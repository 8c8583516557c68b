package main

import (
	"errors"
	"strings"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/config/destinations"
	"github.com/klinghook/klinghook/worker/notify"
)

// newNotifier returns the notifier for the settings and the destinations file.
func newNotifier(cfg *config.Config) (*notify.Notifier, error) {
	var named []notify.Destination
	if cfg.Destinations != "" {
		list, err := destinations.Read(cfg.Destinations, destinationChecks())
		if err != nil { // the file has changed since the settings were checked
			return nil, cli.Usagef("KLINGHOOK_DESTINATIONS: %w", err)
		}
		named = each(list, func(d destinations.Destination) notify.Destination {
			return notify.Destination{Name: d.Name, URL: d.URL, Secret: d.Secret, Events: each(d.Events, cli.EventType), Rate: d.Rate}
		})
	}
	notifier, err := notify.New(notify.Config{
		ChatURLs: cfg.NotifyURLs, ForwardURLs: cfg.ForwardURLs, ForwardSecret: cfg.ForwardSecret, Named: named,
		Events: each(cfg.NotifyEvents, cli.EventType), Rate: cfg.NotifyRate, Text: cfg.NotifyText,
	})
	if err != nil {
		return nil, cli.Usagef("KLINGHOOK_NOTIFY_URLS, KLINGHOOK_FORWARD_URLS, KLINGHOOK_DESTINATIONS: %w", err)
	}
	return notifier, nil
}

func destinationChecks() destinations.Checks {
	return destinations.Checks{Chat: notify.CheckOneRecipient, Event: cli.CheckEvent}
}

// checkDestinations checks the file of KLINGHOOK_DESTINATIONS.
func checkDestinations(path string) error {
	_, err := destinations.Read(path, destinationChecks())
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "\n    "))
}
