package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
	"github.com/klinghook/klinghook/bench/internal/stats"
)

// What is assumed where nothing was measured. The document's text says the same.
const (
	// fillDegree is how much of a part is used, so that it can take a burst.
	fillDegree = 0.6
	// retention and backlog are for how long Redis remembers events that are done,
	// and holds those that wait, in seconds.
	retention, backlog = 3600, 60
	// redisGiB is the memory of one Redis, ingestCores the cores of one ingest process.
	redisGiB, ingestCores = 16, 2
	// eventsPerJob and videoMiB are a job's.
	eventsPerJob, videoMiB = 4, 16
)

// costs are what one event costs, as measured: seconds of processor time, bytes of
// Redis's memory; and what one worker process and one database take a second.
type costs struct {
	ingest, redisIn, redisOut, worker, postgres float64
	pending, retained                           float64
	workerRate, databaseRate                    float64
}

// costsOf reads the costs off the results; ok is false as long as some are missing.
func costsOf(r *results.Results) (c costs, ok bool) {
	if r.Saturation == nil || r.Drain == nil || r.Memory == nil || len(r.Memory.Rows) == 0 {
		return c, false
	}
	ingest := r.Saturation.Setting(results.Everysec).Contender(rig.Klinghook)
	row := r.Drain.Row(results.RowLoopback)
	const micro = 1e-6
	c = costs{
		ingest: ingest.Summary(cpu).Median * micro, redisIn: ingest.Summary(redisCPU).Median * micro,
		redisOut: row.RedisCPU * micro, worker: row.CPU * micro, postgres: row.PostgresCPU * micro,
		pending: r.Memory.Rows[0].Pending, retained: r.Memory.Rows[0].Retained,
		workerRate: stats.Summarize(row.Rates).Median, databaseRate: pgbenchRate(r.Drain, results.ScriptRecord),
	}
	all := []float64{c.ingest, c.redisIn, c.redisOut, c.worker, c.postgres, c.pending, c.retained, c.workerRate, c.databaseRate}
	return c, slices.Min(all) > 0
}

// need is one part of a deployment.
type need struct {
	what string
	// takes is how many events a second one of it takes.
	takes float64
	// of says what one of it is.
	of string
}

func (c costs) needs() []need {
	return []need{
		{"ingest processes", ingestCores * fillDegree / c.ingest, fmt.Sprintf("%d cores", ingestCores)},
		{"Redis servers, by processor", fillDegree / (c.redisIn + c.redisOut), "1 core"},
		{"Redis servers, by memory", redisGiB * (1 << 30) / (retention*c.retained + backlog*c.pending), fmt.Sprintf("%d GiB", redisGiB)},
		{"worker processes", fillDegree * c.workerRate, "as measured"},
		{"databases", fillDegree * c.databaseRate, "as measured"},
	}
}

func paper(r *results.Results) string {
	c, ok := costsOf(r)
	if !ok {
		return "*Not computed yet: it takes what is measured above.*\n"
	}
	targets := []float64{1_000, 100_000}
	var rows [][]string
	needs := c.needs()
	for _, n := range needs {
		row := []string{n.what, n.of, stats.Number(n.takes, 0)}
		for _, target := range targets {
			row = append(row, stats.Number(math.Ceil(target/n.takes), 0))
		}
		rows = append(rows, row)
	}
	for _, quantity := range []struct {
		what, unit string
		per        float64
		digits     int
	}{
		{"ingest processor", "cores", c.ingest / fillDegree, 1},
		{"worker processor", "cores", c.worker / fillDegree, 1},
		{"PostgreSQL processor", "cores", c.postgres / fillDegree, 1},
		{"Redis memory", "GiB", (retention*c.retained + backlog*c.pending) / (1 << 30), 1},
		{"video traffic", "GiB/s", videoMiB / 1024.0 / eventsPerJob, 1},
	} {
		row := []string{quantity.what, quantity.unit, "–"}
		for _, target := range targets {
			row = append(row, stats.Number(target*quantity.per, quantity.digits))
		}
		rows = append(rows, row)
	}
	slices.SortFunc(needs, func(a, b need) int { return cmp.Compare(a.takes, b.takes) })
	order := make([]string, 0, len(needs))
	for _, n := range needs {
		order = append(order, fmt.Sprintf("%s at %s/s", n.what, stats.Number(n.takes, 0)))
	}
	return table([]string{"part", "one is", "one takes, events/s", "1,000 events/s", "100,000 events/s"}, rows) +
		"\nOne of each breaks in this order: " + strings.Join(order, "; ") + ".\n"
}
