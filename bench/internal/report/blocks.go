package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
	"github.com/klinghook/klinghook/bench/internal/stats"
)

const unmeasured = "*Not measured yet.*\n"

// Blocks returns the report's blocks, in the document's order.
func Blocks(r *results.Results) []Block {
	return []Block{
		{"machine", machine(r)},
		{"saturation", saturation(r.Saturation)},
		{"distance", distance(r.Saturation)},
		{"steady", steady(r.Steady)},
		{"growth", growth(r.Growth)},
		{"memory", memory(r.Memory)},
		{"drain", drain(r.Drain)},
		{"idle", idle(r.Idle)},
		{"downloads", downloads(r.Downloads)},
		{"scaling", scaling(r.Scaling)},
		{"soak", soak(r.Soak)},
		{"paper", paper(r)},
	}
}

// stamps returns those of the sections that were measured.
func stamps(r *results.Results) []results.Stamp {
	var all []results.Stamp
	if r.Saturation != nil {
		all = append(all, r.Saturation.Stamp)
	}
	if r.Drain != nil {
		all = append(all, r.Drain.Stamp)
	}
	if r.Downloads != nil {
		all = append(all, r.Downloads.Stamp)
	}
	return all
}

func machine(r *results.Results) string {
	all := stamps(r)
	if len(all) == 0 {
		return "*Nothing is measured yet: `make bench` does it.*\n"
	}
	m := all[0].Machine
	var programs []string
	for _, name := range slices.Sorted(maps.Keys(m.Programs)) {
		programs = append(programs, name+" "+m.Programs[name])
	}
	return fmt.Sprintf("%d cores (%s), %s MiB of memory, %s.\nPrograms: %s.\n", m.Cores, m.Processor, stats.Number(float64(m.MemoryMiB), 0), m.System, strings.Join(programs, ", "))
}

// stamped is the line under each block.
func stamped(s results.Stamp) string {
	line := fmt.Sprintf("\nMeasured %s of commit %#q", s.At.Format("2006-01-02 15:04 MST"), s.Commit)
	if s.Load > 0.3*float64(s.Machine.Cores) {
		line += fmt.Sprintf("; **the machine had other work to do: its load average was %.1f before**", s.Load)
	}
	return line + ".\n"
}

func rate(r results.Round) float64        { return r.Rate }
func p50(r results.Round) float64         { return r.P50 }
func p99(r results.Round) float64         { return r.P99 }
func p99Sent(r results.Round) float64     { return r.P99Sent }
func cpu(r results.Round) float64         { return r.CPU }
func redisCPU(r results.Round) float64    { return r.RedisCPU }
func idleMiB(r results.Round) float64     { return r.IdleMiB }
func peakMiB(r results.Round) float64     { return r.PeakMiB }
func firstAnswer(r results.Round) float64 { return r.FirstAnswer }

// ratio is a contestant's rate to another's, round by round.
func ratio(s results.Setting, name, to string) string {
	return stats.Summarize(stats.Ratios(s.Contender(name).Series(rate), s.Contender(to).Series(rate))).Format(2)
}

// errorsOf is how many requests failed in all rounds.
func errorsOf(c results.Contender) string {
	var failed, all int64
	for _, r := range c.Rounds {
		failed += r.Errors
		all += r.Requests
	}
	if failed == 0 {
		return "0"
	}
	return fmt.Sprintf("%s of %s", stats.Number(float64(failed), 0), stats.Number(float64(all), 0))
}

// costs of an enqueuing contestant; a dash where there is no Redis.
func redisCost(c results.Contender) string {
	s := c.Summary(redisCPU)
	if s.Max == 0 {
		return "–"
	}
	return stats.Number(s.Median, 1)
}

func median(c results.Contender, figure func(results.Round) float64, digits int) string {
	s := c.Summary(figure)
	if s.Rounds == 0 {
		return "–"
	}
	return stats.Number(s.Median, digits)
}

func saturation(s *results.Saturation) string {
	if s == nil {
		return unmeasured
	}
	setting := s.Setting(results.Everysec)
	var rows, costs [][]string
	var missing []string
	for _, c := range setting.Contenders {
		if c.Missing != "" {
			missing = append(missing, fmt.Sprintf("%s did not take part: it is not installed (%s).\n", c.Name, c.Missing))
			continue
		}
		rows = append(rows, []string{c.Name, c.Summary(rate).Format(0), ratio(setting, c.Name, rig.Echo), ratio(setting, c.Name, rig.Plain),
			c.Summary(p50).Format(2), c.Summary(p99).Format(2), errorsOf(c)})
		costs = append(costs, []string{c.Name, median(c, cpu, 1), redisCost(c), median(c, idleMiB, 1), c.Summary(peakMiB).Format(1), median(c, firstAnswer, 0)})
	}
	return fmt.Sprintf("%d connections, bodies of %d bytes, `appendfsync everysec`, %d rounds of %.0f s, load by %s.\n\n", s.Connections, s.BodySize, len(setting.Contender(rig.Echo).Rounds), s.Seconds, s.Tool) +
		table([]string{"contestant", "answers/s", "of bare Echo", "of Echo + asynq", "p50 ms", "p99 ms", "errors"}, rows) + "\n" +
		table([]string{"contestant", "CPU µs/event", "Redis CPU µs/event", "idle MiB", "most MiB", "start to first 200, ms"}, costs) +
		"\n" + strings.Join(missing, "\n") + stamped(s.Stamp)
}

func distance(s *results.Saturation) string {
	if s == nil {
		return unmeasured
	}
	var rows [][]string
	for _, of := range []struct{ name, title string }{
		{results.Everysec, "loopback, `everysec`"}, {results.Always, "loopback, `always`"}, {results.Distant, "2 ms away, `everysec`"},
		{results.EverysecMany, "loopback, `everysec`"}, {results.AlwaysMany, "loopback, `always`"}, {results.DistantMany, "2 ms away, `everysec`"},
	} {
		setting := s.Setting(of.name)
		for _, name := range []string{rig.Echo, rig.Plain, rig.Klinghook} {
			c := setting.Contender(name)
			if len(c.Rounds) == 0 {
				continue
			}
			rows = append(rows, []string{of.title, stats.Number(setting.RoundTrip, 2), stats.Number(float64(setting.Connections), 0), name, c.Summary(rate).Format(0),
				ratio(setting, name, rig.Echo), ratio(setting, name, rig.Plain), c.Summary(p99).Format(2), errorsOf(c)})
		}
	}
	return table([]string{"Redis", "PING ms", "connections", "contestant", "answers/s", "of bare Echo", "of Echo + asynq", "p99 ms", "errors"}, rows) + stamped(s.Stamp)
}

func steady(s *results.Steady) string {
	if s == nil {
		return unmeasured
	}
	var rows [][]string
	bare := s.Contender(rig.Echo).Series(p99)
	for _, c := range s.Contenders {
		over := stats.Summarize(stats.Differences(c.Series(p99), bare))
		rows = append(rows, []string{c.Name, c.Summary(rate).Format(0), c.Summary(p50).Format(2), c.Summary(p99).Format(2), over.Format(2), c.Summary(p99Sent).Format(2), errorsOf(c), median(c, cpu, 1)})
	}
	return fmt.Sprintf("%s deliveries a second, %.0f s a round.\n\n", stats.Number(float64(s.Rate), 0), s.Seconds) +
		table([]string{"contestant", "answers/s", "p50 ms", "p99 ms", "p99 over bare Echo's, ms", "p99 ms since sent", "errors", "CPU µs/event"}, rows) + stamped(s.Stamp)
}

// size writes a number of bytes as the settings do.
func size(bytes int) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%g KiB", float64(bytes)/1024)
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}

func growth(g *results.Growth) string {
	if g == nil {
		return unmeasured
	}
	var rows [][]string
	for _, c := range g.Cells {
		failed := stats.Number(float64(c.Errors), 0)
		repeats := fmt.Sprintf("%.0f %%", 100*float64(c.Duplicates)/float64(max(c.Requests, 1)))
		rows = append(rows, []string{size(c.BodySize), stats.Number(float64(c.Connections), 0), stats.Number(c.Rate, 0), stats.Number(c.P50, 2), stats.Number(c.P99, 2),
			stats.Number(c.CPU, 1), stats.Number(c.RedisCPU, 1), stats.Number(c.PeakMiB, 1), failed, repeats})
	}
	return table([]string{"body", "connections", "answers/s", "p50 ms", "p99 ms", "CPU µs/event", "Redis CPU µs/event", "most MiB", "errors", "repeats"}, rows) + stamped(g.Stamp)
}

func memory(m *results.Memory) string {
	if m == nil {
		return unmeasured
	}
	var rows [][]string
	for _, row := range m.Rows {
		rows = append(rows, []string{size(row.BodySize), stats.Number(float64(row.Events), 0), stats.Number(row.Pending, 0), stats.Number(row.Retained, 0)})
	}
	return table([]string{"body", "events", "pending, bytes each", "retained, bytes each"}, rows) + stamped(m.Stamp)
}
