package suite

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/klinghook/klinghook/bench/internal/load"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

const (
	// soakSamples is how often memory is read at most.
	soakSamples = 300
	// soakFlush is how often the queue is emptied: no worker on this machine would
	// keep up, and what is soaked is klinghook-ingest. It is sooner than the
	// deliveries repeat.
	soakFlush = 5 * time.Second
)

// soak sends at half the rate that saturates klinghook for a long time, and watches
// its memory.
func (s *Suite) soak(ctx context.Context, r *results.Results) (err error) {
	full, err := saturationRate(r)
	if err != nil {
		return err
	}
	so := &results.Soak{Stamp: s.stamp(), Rate: max(int(full/2), 1), Seconds: s.Plan.Soak.Seconds()}
	s.Rig.Silent = true
	defer func() { s.Rig.Silent = false }()
	rd, err := s.Rig.StartRedis(ctx, rig.RedisConfig{Rewrite: true})
	if err != nil {
		return err
	}
	defer stop(&err, rd)
	rec, err := s.Rig.StartReceiver(ctx, rig.Klinghook, rd, nil)
	if err != nil {
		return err
	}
	defer stop(&err, rec)
	requests, err := s.requests(bodySize)
	if err != nil {
		return err
	}
	watched, unwatch := context.WithCancel(ctx)
	defer unwatch()
	var wg sync.WaitGroup
	var watchErr, flushErr error
	wg.Go(func() { so.Samples, watchErr = watchMemory(watched, rec.PID(), s.Plan.Soak) })
	wg.Go(func() { flushErr = keepEmpty(watched, rd) })
	res, err := load.Steady(ctx, rec.URL, load.Span{Requests: requests, N: requests.Count}, so.Rate, s.Plan.Soak)
	unwatch()
	wg.Wait()
	if err := errors.Join(err, watchErr, flushErr); err != nil {
		return err
	}
	so.Reached, so.Errors, so.P50, so.P99 = res.Rate(), res.Errors, res.Latencies.Percentile(50), res.Latencies.Percentile(99)
	last := so.Samples[len(so.Samples)-1]
	s.say("  %d/s for %s: %.0f/s answered, %d errors, p99 %.2f ms, %.1f MiB in the end", so.Rate, s.Plan.Soak, so.Reached, so.Errors, so.P99, last.MiB)
	r.Soak = so
	return nil
}

// watchMemory reads what a process has resident, until ctx ends.
func watchMemory(ctx context.Context, pid int, d time.Duration) (samples []results.SoakSample, err error) {
	began := time.Now()
	tick := time.NewTicker(max(d/soakSamples, 200*time.Millisecond))
	defer tick.Stop()
	for {
		used, err := rig.UsageOf(pid)
		if err != nil {
			return samples, err
		}
		samples = append(samples, results.SoakSample{Second: time.Since(began).Seconds(), MiB: float64(used.RSS) / mib})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return samples, nil
		}
	}
}

// keepEmpty empties a Redis again and again, and lets it shrink its file, until ctx
// ends.
func keepEmpty(ctx context.Context, rd *rig.Redis) error {
	tick := time.NewTicker(soakFlush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := rd.Client.FlushAllAsync(ctx).Err(); err != nil && ctx.Err() == nil {
			return err
		}
		// It says so when it is at it already.
		_ = rd.Client.BgRewriteAOF(ctx).Err()
	}
}
