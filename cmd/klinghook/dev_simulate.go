package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/simulate"
)

// simulatedLookupAfter is KLINGHOOK_LOOKUP_AFTER's default for dev --simulate, whose jobs
// take seconds.
const simulatedLookupAfter = 10 * time.Second

// simulatedKling is a fake Kling beside dev.
type simulatedKling struct {
	simulator *simulate.Simulator
	listeners *process.Listeners
	addr      string
}

// startSimulatedKling starts a fake Kling that signs with dev's secrets, and changes the
// settings to use it as Kling's API.
func startSimulatedKling(ctx context.Context, log *zap.Logger, cfg *config.Config, secrets devSecrets) (*simulatedKling, error) {
	video, err := samples.ReadFile("sample/video.mp4")
	if err != nil {
		return nil, fmt.Errorf("open sample: %w", err)
	}
	secret := func(p simulate.CallbackFormat) string {
		if list := secrets.list(protocolNamed(p).SecretSetting); len(list) > 0 {
			return list[0]
		}
		return ""
	}
	k := &simulatedKling{listeners: process.NewListeners(log)}
	k.simulator, err = simulate.New(ctx, simulate.Config{Video: video, SeedSecret: secret(simulate.Seed), OfficialSecret: secret(simulate.Official)})
	if err != nil {
		return nil, err
	}
	handler := admin.ProtectOpen(simulateAddr, k.simulator)
	if k.addr, err = k.listeners.Add(ctx, "simulate", simulateAddr, handler); err != nil {
		if k.addr, err = k.listeners.Add(ctx, "simulate", "127.0.0.1:0", handler); err != nil {
			return nil, errors.Join(err, k.close())
		}
	}
	cfg.APIURL, cfg.APIKey, cfg.AccessKey, cfg.SecretKey = "http://"+k.addr, "simulated", "", ""
	if cfg.Origin("KLINGHOOK_LOOKUP_AFTER") == config.FromDefault {
		cfg.LookupAfter = simulatedLookupAfter
	}
	return k, nil
}

// greet prints how to create a job.
func (k *simulatedKling) greet(out io.Writer, webhooks string) {
	fmt.Fprintf(out, "  Kling     http://%s\n", k.addr)
	fmt.Fprintf(out, "  try       %s\n\n", tryCreate(k.addr, "", "any", webhooks+protocolNamed(simulate.Official).Path))
}

func (k *simulatedKling) close() error {
	k.simulator.Close()
	return k.listeners.Close()
}
