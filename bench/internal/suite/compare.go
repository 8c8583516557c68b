package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klinghook/klinghook/bench/internal/load"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
	"github.com/klinghook/klinghook/bench/internal/stats"
)

// comparison is some contestants under the same circumstances.
type comparison struct {
	name   string
	names  []string
	rounds int
	redis  rig.RedisConfig
	shot   shot
	// connections are how many the shot has, where that is a fixed number.
	connections int
}

// shot is one load on one receiver.
type shot struct {
	size int
	// settings are for klinghook.
	settings map[string]string
	warm     time.Duration
	send     func(ctx context.Context, url string, warm bool, span load.Span) (load.Result, error)
}

// saturating keeps connections busy for a time.
func saturating(size, connections int, warm, d time.Duration) shot {
	return shot{size: size, warm: warm, send: func(ctx context.Context, url string, isWarm bool, span load.Span) (load.Result, error) {
		if isWarm {
			return load.Saturate(ctx, url, span, connections, warm)
		}
		return load.Saturate(ctx, url, span, connections, d)
	}}
}

// compare runs the contestants round by round. Each has each place in the order
// once, as far as the rounds go.
func (s *Suite) compare(ctx context.Context, c comparison) (results.Setting, error) {
	setting := results.Setting{Name: c.name, Connections: c.connections}
	merged := make(map[string]*stats.Latencies)
	var taking []int
	for _, name := range c.names {
		contender := results.Contender{Name: name, Missing: rig.Missing(name)}
		if contender.Missing == "" {
			taking = append(taking, len(setting.Contenders))
		} else {
			s.say("  %s is left out: not installed (%s)", name, contender.Missing)
		}
		setting.Contenders = append(setting.Contenders, contender)
		merged[name] = stats.NewLatencies()
	}
	for round := range c.rounds {
		for i := range taking {
			contender := &setting.Contenders[taking[(i+round)%len(taking)]]
			r, latencies, roundTrip, err := s.fire(ctx, contender.Name, c.redis, c.shot)
			if err != nil {
				return setting, fmt.Errorf("round %d, %s: %w", round+1, contender.Name, err)
			}
			contender.Rounds = append(contender.Rounds, r)
			merged[contender.Name].Merge(latencies)
			setting.RoundTrip = max(setting.RoundTrip, roundTrip)
			s.say("  %s %d/%d  %-16s %7.0f/s  p50 %.2f ms  p99 %.2f ms  %d errors  %.1f µs/event  %.1f MiB", c.name, round+1, c.rounds,
				contender.Name, r.Rate, r.P50, r.P99, r.Errors, r.CPU, r.PeakMiB)
		}
	}
	for i := range setting.Contenders {
		setting.Contenders[i].Curve = merged[setting.Contenders[i].Name].Curve()
	}
	return setting, nil
}

// needsRedis reports whether a contestant enqueues.
func needsRedis(name string) bool { return name == rig.Plain || name == rig.Klinghook }

// fire starts one contestant afresh, with an empty Redis of its own where it needs
// one, and sends one load to it.
func (s *Suite) fire(ctx context.Context, name string, cfg rig.RedisConfig, sh shot) (r results.Round, l *stats.Latencies, roundTrip float64, err error) {
	var rd *rig.Redis
	if needsRedis(name) {
		if rd, err = s.Rig.StartRedis(ctx, cfg); err != nil {
			return r, nil, 0, err
		}
		defer stop(&err, rd)
		rtt, err := rd.RoundTrip(ctx)
		if err != nil {
			return r, nil, 0, err
		}
		roundTrip = ms(rtt)
	}
	rec, err := s.Rig.StartReceiver(ctx, name, rd, sh.settings)
	if err != nil {
		return r, nil, 0, err
	}
	defer stop(&err, rec)
	r, l, err = s.measure(ctx, name, rec, rd, sh)
	if err != nil {
		err = fmt.Errorf("%w; it printed:\n%s", err, rec.LogTail())
	}
	return r, l, roundTrip, err
}

// settle is how long a process that has just started is left alone before its memory
// is read.
const settle = 500 * time.Millisecond

// measure sends the load and reads what it cost.
func (s *Suite) measure(ctx context.Context, name string, rec *rig.Receiver, rd *rig.Redis, sh shot) (r results.Round, _ *stats.Latencies, err error) {
	if err := pause(ctx, settle); err != nil {
		return r, nil, err
	}
	idle, err := rig.UsageOf(rec.PID())
	if err != nil {
		return r, nil, err
	}
	requests, err := s.requests(sh.size)
	if err != nil {
		return r, nil, err
	}
	warm, measured := requests.Split()
	warmed, err := sh.send(ctx, rec.URL, true, warm)
	if err != nil {
		return r, nil, fmt.Errorf("warm up: %w", err)
	}
	before, err := read(ctx, name, rec, rd)
	if err != nil {
		return r, nil, err
	}
	res, err := sh.send(ctx, rec.URL, false, measured)
	if err != nil {
		return r, nil, err
	}
	after, err := read(ctx, name, rec, rd)
	if err != nil {
		return r, nil, err
	}
	r = results.Round{
		Rate: res.Rate(), P50: res.Latencies.Percentile(50), P99: res.Latencies.Percentile(99),
		Requests: res.Requests, Errors: res.Errors, Failure: res.Failure,
		CPU: perEvent(after.receiver.CPU-before.receiver.CPU, res.Requests), RedisCPU: perEvent(after.redis.CPU-before.redis.CPU, res.Requests),
		IdleMiB: float64(idle.RSS) / mib, PeakMiB: float64(after.receiver.Peak) / mib, FirstAnswer: ms(rec.FirstAnswer),
		Duplicates: int64(after.outcomes["duplicate"] - before.outcomes["duplicate"]),
	}
	if res.FromSending != nil {
		r.P99Sent = res.FromSending.Percentile(99)
	}
	if name == rig.Klinghook {
		// A repeat of what is in the spool is accepted twice, and queued once.
		exact := !warmed.Repeated && !res.Repeated
		r.Queued, err = queued(ctx, rd, int64(after.outcomes["accepted"]), exact)
	}
	return r, res.Latencies, err
}

// costsSoFar are what a receiver and its Redis have cost, and what klinghook counts.
type costsSoFar struct {
	receiver, redis rig.Usage
	outcomes        map[string]float64
}

func read(ctx context.Context, name string, rec *rig.Receiver, rd *rig.Redis) (c costsSoFar, err error) {
	if c.receiver, err = rig.UsageOf(rec.PID()); err != nil {
		return c, err
	}
	if rd != nil {
		if c.redis, err = rig.UsageOf(rd.PID()); err != nil {
			return c, err
		}
	}
	if name == rig.Klinghook {
		c.outcomes, err = rec.Outcomes(ctx)
	}
	return c, err
}

// queued returns how many tasks are in the queue. Where nothing was sent twice, it
// fails when they are fewer than klinghook has accepted.
func queued(ctx context.Context, rd *rig.Redis, accepted int64, exact bool) (n int64, err error) {
	if accepted == 0 {
		return 0, errors.New("klinghook's metrics know of no accepted delivery")
	}
	// What was spooled while Redis was slow is handed over a little later.
	all, err := until(ctx, 100*time.Millisecond, 20*time.Second, func(ctx context.Context) (bool, error) {
		b, err := rd.Backlog(ctx, "events")
		n = b.Waiting
		return n >= accepted || !exact, err
	})
	if err == nil && !all {
		err = fmt.Errorf("klinghook has accepted %d deliveries, and only %d are in the queue", accepted, n)
	}
	return n, err
}
