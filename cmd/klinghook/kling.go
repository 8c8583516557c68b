package main

import (
	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/worker"
)

// hasCredentials reports whether there are credentials for Kling's API.
func hasCredentials(cfg *config.Config) bool { return cfg.APIKey != "" || cfg.AccessKey != "" }

// klingClient returns a client of Kling's API. The settings must have credentials.
func klingClient(cfg *config.Config) (*kling.API, error) {
	client, err := kling.New(kling.Config{
		BaseURL: cfg.APIURL, APIKey: cfg.APIKey, AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey, Rate: cfg.LookupRate,
	})
	if err != nil {
		return nil, cli.Usagef("KLINGAI_API_URL, KLINGAI_API_KEY, KLINGAI_ACCESS_KEY: %w", err)
	}
	return client, nil
}

// lookups returns the look-ups of a worker, without a client if there are no credentials.
func lookups(cfg *config.Config) (worker.Lookups, error) {
	l := worker.Lookups{NewAPI: cfg.APIKey != "", After: cfg.LookupAfter, GiveUp: cfg.LookupGiveUp}
	if !hasCredentials(cfg) {
		return l, nil
	}
	client, err := klingClient(cfg)
	if err == nil {
		l.Kling = client
	}
	return l, err
}
