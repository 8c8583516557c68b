package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/stats"
)

func drain(d *results.Drain) string {
	if d == nil {
		return unmeasured
	}
	inserts := pgbenchRate(d, results.ScriptInserts)
	var rows [][]string
	for _, p := range d.Pgbench {
		rows = append(rows, []string{fmt.Sprintf("pgbench, %#q, %d clients", p.Script, p.Clients), "–", "–", stats.Summarize(p.Rates).Format(0), part(stats.Summarize(p.Rates).Median, inserts), "–", "–", "–", "–", "–"})
	}
	for _, row := range d.Rows {
		sum, postgres, of := stats.Summarize(row.Rates), "–", "–"
		if row.PostgresCPU > 0 {
			postgres, of = stats.Number(row.PostgresCPU, 1), part(sum.Median, inserts)
		}
		rows = append(rows, []string{row.Name, stats.Number(row.RoundTrip, 2), stats.Number(float64(row.Backlog), 0), sum.Format(0), of, ofPlain(d, row),
			stats.Number(row.CPU, 1), stats.Number(row.RedisCPU, 1), postgres, stats.Number(row.PeakMiB, 1)})
	}
	costs := ""
	if w := d.WholePath; w != nil {
		whole := stats.Summarize(w.Rates)
		rows = append(rows, []string{"whole path", "–", stats.Number(float64(w.Window), 0), whole.Format(0), part(whole.Median, inserts), "–",
			stats.Number(w.CPU, 1), stats.Number(w.RedisCPU, 1), stats.Number(w.PostgresCPU, 1), stats.Number(w.PeakMiB, 1)})
		costs = fmt.Sprintf("\nOf the whole path, the sender costs %s and klinghook-ingest %s µs/event more.\n", stats.Number(w.SenderCPU, 1), stats.Number(w.IngestCPU, 1))
	}
	return table([]string{"what", "PING ms", "backlog", "events/s", "of pgbench `inserts`", "of one asynq Server", "CPU µs/event", "Redis CPU µs/event", "PostgreSQL CPU µs/event", "most MiB"}, rows) + costs + stamped(d.Stamp)
}

// ofPlain is a row's rate to that of one asynq Server with the same Redis, round by round.
func ofPlain(d *results.Drain, row results.DrainRow) string {
	to := map[string]string{
		results.PlainLoopback: results.PlainLoopback, results.EffectlessLoopback: results.PlainLoopback, results.RowLoopback: results.PlainLoopback,
		results.PlainDistant: results.PlainDistant, results.EffectlessDistant: results.PlainDistant, results.RowDistant: results.PlainDistant,
	}[row.Name]
	return stats.Summarize(stats.Ratios(row.Rates, d.Row(to).Rates)).Format(2)
}

// pgbenchRate is the median of a script.
func pgbenchRate(d *results.Drain, script string) float64 {
	for _, p := range d.Pgbench {
		if p.Script == script {
			return stats.Summarize(p.Rates).Median
		}
	}
	return 0
}

// part is a to b; a dash where there is no b.
func part(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return stats.Number(a/b, 2)
}

func idle(in *results.Idle) string {
	if in == nil {
		return unmeasured
	}
	total := 0
	var each []string
	for _, name := range slices.SortedFunc(maps.Keys(in.Commands), func(a, b string) int { return in.Commands[b] - in.Commands[a] }) {
		total += in.Commands[name]
		each = append(each, fmt.Sprintf("%s %.1f", name, float64(in.Commands[name])/in.Seconds))
	}
	return table([]string{"figure", "value"}, [][]string{
		{fmt.Sprintf("200 to committed row, p50 of %d lone deliveries", in.PickUps), stats.Number(in.P50, 1) + " ms"},
		{"the same, p99", stats.Number(in.P99, 1) + " ms"},
		{"Redis commands a second of an idle worker", stats.Number(float64(total)/in.Seconds, 1)},
		{"resident memory of an idle worker", stats.Number(in.WorkerMiB, 1) + " MiB"},
	}) + "\nCommands a second: " + strings.Join(each, ", ") + ".\n" + stamped(in.Stamp)
}

func downloads(d *results.Downloads) string {
	if d == nil {
		return unmeasured
	}
	var rows [][]string
	for _, row := range d.Rows {
		rows = append(rows, []string{fmt.Sprintf("%d × %d MiB", row.Files, row.SizeMiB),
			stats.Summarize(row.Piped).Format(0), stats.Summarize(row.Kept).Format(0), stats.Summarize(row.Worker).Format(0),
			stats.Summarize(stats.Ratios(row.Worker, row.Piped)).Format(2), stats.Summarize(stats.Ratios(row.Worker, row.Kept)).Format(2), stats.Number(row.PeakMiB, 1)})
	}
	return table([]string{"files at once", "`curl \\| sha256sum`, MiB/s", "the same, kept and synced, MiB/s", "worker, MiB/s", "worker of the first", "worker of the second", "worker, most MiB"}, rows) + stamped(d.Stamp)
}

func scaling(s *results.Scaling) string {
	if s == nil {
		return unmeasured
	}
	var rows [][]string
	for _, row := range s.Rows {
		rows = append(rows, []string{fmt.Sprint(row.Workers), stats.Number(row.Seconds, 2), part(s.Rows[0].Seconds, row.Seconds)})
	}
	return fmt.Sprintf("%d files, each after %.0f ms, %d at once in each worker.\n\n", s.Files, s.DelayMs, s.AtOnce) +
		table([]string{"worker processes", "seconds", "times as fast as one"}, rows) + stamped(s.Stamp)
}

func soak(s *results.Soak) string {
	if s == nil {
		return "*Not measured yet: `make bench SOAK=10m` does it.*\n"
	}
	memory := make([]float64, 0, len(s.Samples))
	for _, sample := range s.Samples {
		memory = append(memory, sample.MiB)
	}
	half := memory[len(memory)/2:]
	return table([]string{"figure", "value"}, [][]string{
		{"sent", fmt.Sprintf("%s/s for %.0f s", stats.Number(float64(s.Rate), 0), s.Seconds)},
		{"answered with 200", stats.Number(s.Reached, 0) + "/s"},
		{"errors", stats.Number(float64(s.Errors), 0)},
		{"p50, p99", fmt.Sprintf("%s ms, %s ms", stats.Number(s.P50, 2), stats.Number(s.P99, 2))},
		{"resident, MiB, median (least to most)", stats.Summarize(memory).Format(1)},
		{"the same in the second half", stats.Summarize(half).Format(1)},
	}) + stamped(s.Stamp)
}
