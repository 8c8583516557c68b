package main

import (
	"context"
	"fmt"
	"time"
)

// The contestants: arguments of the contestant program, and klinghook-ingest.
const (
	bareEcho  = "echo"
	plainEcho = "plain"
	klinghook = "klinghook-ingest"
)

// measureIngest compares the contestants round by round, in turns.
func (b *bench) measureIngest(ctx context.Context) error {
	names := []string{plainEcho, klinghook, bareEcho}
	for round := range b.plan.rounds {
		for _, redis := range []string{near, far} {
			for _, connections := range []int{64, 256} {
				for i := range names {
					key := row{names[(i+round)%len(names)], redis, connections}
					if key.what == bareEcho && redis == far {
						continue
					}
					s, err := b.saturateOne(ctx, key)
					if err != nil {
						return fmt.Errorf("%v: %w", key, err)
					}
					b.add(key, s)
				}
			}
		}
	}
	return nil
}

// saturateOne measures a new receiver with a new Redis.
func (b *bench) saturateOne(ctx context.Context, key row) (s sample, err error) {
	defer b.rig.cleanUp(len(b.rig.cleanups), &err)
	var each time.Duration
	if key.redis == far {
		each = time.Millisecond
	}
	rd, err := b.rig.startRedis(ctx, each)
	if err != nil {
		return s, err
	}
	receiver, url, err := b.rig.startReceiver(ctx, key.what, rd.addr)
	if err != nil {
		return s, err
	}
	if err := pause(ctx, b.plan.settle); err != nil {
		return s, err
	}
	if s.idleMiB, err = receiver.residentMiB(); err != nil {
		return s, err
	}
	// The warm-up has the first sixth of the requests, the measurement the rest.
	cut := b.requests.count / 6
	warm, warmErr := saturate(ctx, url, b.requests, 0, cut, key.connections, b.plan.warm)
	result, err := saturate(ctx, url, b.requests, cut, b.requests.count-cut, key.connections, b.plan.measure)
	if warmErr != nil || err != nil {
		return s, fmt.Errorf("%w; warm-up: %w\n%s", err, warmErr, receiver.logTail())
	}
	s.rate, s.p50, s.p99 = float64(result.Requests)/result.Us*1e6, result.P50/1e3, result.P99/1e3
	if key.what == bareEcho || warm.Repeated+result.Repeated > 0 {
		return s, nil
	}
	return s, rd.awaitQueued(ctx, warm.Requests+result.Requests)
}
