package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/simulate"
)

// simulatedAfter is how long dev waits for a job of its own Kling, unless the
// settings say so: there jobs take seconds.
const simulatedAfter = 10 * time.Second

// simulatedKling is a Kling beside dev.
type simulatedKling struct {
	simulator *simulate.Simulator
	listeners *process.Listeners
	addr      string
}

// startSimulatedKling starts a Kling that signs with dev's own secrets, and changes
// the settings so that it is the one that is asked about jobs.
func startSimulatedKling(ctx context.Context, log *zap.Logger, cfg *config.Config, secrets devSecrets) (*simulatedKling, error) {
	video, err := samples.ReadFile("sample/video.mp4")
	if err != nil {
		return nil, fmt.Errorf("open sample: %w", err)
	}
	sign := func(protocol string) (secret string) {
		if list := secrets.list(protocolNamed(protocol).SecretSetting); len(list) > 0 {
			secret = list[0]
		}
		return secret
	}
	k := &simulatedKling{listeners: process.NewListeners(log)}
	k.simulator, err = simulate.New(simulate.Config{Video: video, SeedSecret: sign(protocolSeed), OfficialSecret: sign(protocolOfficial)})
	if err != nil {
		return nil, err
	}
	if k.addr, err = k.listeners.Add(ctx, "simulate", simulateAddr, k.simulator); err != nil {
		if k.addr, err = k.listeners.Add(ctx, "simulate", "127.0.0.1:0", k.simulator); err != nil {
			return nil, err
		}
	}
	k.simulator.Start(ctx)
	cfg.APIURL, cfg.APIKey, cfg.AccessKey, cfg.SecretKey = "http://"+k.addr, "simulated", "", ""
	if cfg.Origin("KLINGHOOK_LOOKUP_AFTER") == config.FromDefault {
		cfg.LookupAfter = simulatedAfter
	}
	return k, nil
}

// greet prints how to create a job.
func (k *simulatedKling) greet(out io.Writer, webhooks string) {
	fmt.Fprintf(out, "  Kling     http://%s\n", k.addr)
	fmt.Fprintf(out, "  try       curl http://%s/v1/videos/text2video -H 'Authorization: Bearer any' -d '%s'\n\n", k.addr,
		`{"prompt": "A lighthouse at dawn", "callback_url": "`+webhooks+protocolNamed(protocolOfficial).Path+`"}`)
}

func (k *simulatedKling) close() error {
	k.simulator.Close()
	return k.listeners.Close()
}
