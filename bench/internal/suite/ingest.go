package suite

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/klinghook/klinghook/bench/internal/load"
	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

// saturation compares all contestants at as much load as they take, and those that
// enqueue with a Redis that syncs each write, and with one that is 2 ms away; and the same
// once more on more connections.
func (s *Suite) saturation(ctx context.Context, r *results.Results) error {
	sat := &results.Saturation{Stamp: s.stamp(), Tool: load.Tool(), Connections: connections, BodySize: bodySize, Seconds: s.Plan.Measure.Seconds()}
	queueing := []string{rig.Plain, rig.Klinghook}
	for _, c := range []comparison{
		{name: results.Everysec, names: []string{rig.Echo, rig.Plain, rig.Klinghook, rig.Express, rig.Flask}, rounds: s.Plan.Rounds, connections: connections},
		{name: results.Always, names: queueing, rounds: s.Plan.SideRounds, redis: rig.RedisConfig{Fsync: "always"}, connections: connections},
		{name: results.Distant, names: queueing, rounds: s.Plan.SideRounds, redis: rig.RedisConfig{Each: each}, connections: connections},
		{name: results.EverysecMany, names: []string{rig.Echo, rig.Plain, rig.Klinghook}, rounds: s.Plan.SideRounds, connections: manyConnections},
		{name: results.AlwaysMany, names: queueing, rounds: s.Plan.SideRounds, redis: rig.RedisConfig{Fsync: "always"}, connections: manyConnections},
		{name: results.DistantMany, names: queueing, rounds: s.Plan.SideRounds, redis: rig.RedisConfig{Each: each}, connections: manyConnections},
	} {
		c.shot = saturating(bodySize, c.connections, s.Plan.Warm, s.Plan.Measure)
		setting, err := s.compare(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		sat.Settings = append(sat.Settings, setting)
	}
	r.Saturation = sat
	return nil
}

// saturationRate is klinghook's of this run or of an earlier one.
func saturationRate(r *results.Results) (float64, error) {
	rate := r.Saturation.Setting(results.Everysec).Contender(rig.Klinghook).Summary(func(r results.Round) float64 { return r.Rate }).Median
	if rate == 0 {
		return 0, errors.New("it goes by klinghook's rate at saturation: measure that first")
	}
	return rate, nil
}

// steady compares at a quarter of the rate that saturates klinghook.
func (s *Suite) steady(ctx context.Context, r *results.Results) error {
	full, err := saturationRate(r)
	if err != nil {
		return err
	}
	st := &results.Steady{Stamp: s.stamp(), Rate: max(int(full/4), 1), Seconds: s.Plan.Measure.Seconds()}
	st.Setting, err = s.compare(ctx, comparison{
		name: "steady", names: []string{rig.Echo, rig.Plain, rig.Klinghook}, rounds: s.Plan.Rounds,
		shot: shot{size: bodySize, warm: s.Plan.Warm, send: func(ctx context.Context, url string, warm bool, span load.Span) (load.Result, error) {
			if warm {
				return load.Steady(ctx, url, span, st.Rate, s.Plan.Warm)
			}
			return load.Steady(ctx, url, span, st.Rate, s.Plan.Measure)
		}},
	})
	if err != nil {
		return err
	}
	r.Steady = st
	return nil
}

// longFlight is how many bytes must be on their way at once for an answer to take
// seconds.
const longFlight = 256 << 20

// growth measures klinghook alone, by connections and by the size of bodies.
func (s *Suite) growth(ctx context.Context, r *results.Results) error {
	g := &results.Growth{Stamp: s.stamp()}
	for _, size := range s.Plan.BodySizes {
		for _, conns := range s.Plan.Connections {
			cell := s.Plan.Cell
			if size*conns > longFlight {
				cell *= 4
			}
			sh := saturating(size, conns, cell/4, cell)
			sh.settings = bodyLimit(size)
			round, _, _, err := s.fire(ctx, rig.Klinghook, rig.RedisConfig{}, sh)
			if err != nil {
				return fmt.Errorf("%d connections, bodies of %d bytes: %w", conns, size, err)
			}
			s.say("  %4d connections, %6d bytes: %7.0f/s  p50 %.2f ms  p99 %.2f ms  %d errors, %d duplicates of %d", conns, size, round.Rate, round.P50, round.P99, round.Errors, round.Duplicates, round.Requests)
			g.Cells = append(g.Cells, results.Cell{Connections: conns, BodySize: size, Round: round})
		}
	}
	r.Growth = g
	return nil
}

// bodyLimit lets klinghook take bodies of a size.
func bodyLimit(size int) map[string]string {
	return map[string]string{"KLINGHOOK_MAX_BODY": strconv.Itoa(max(size, 1<<20))}
}
