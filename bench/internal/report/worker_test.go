package report

import (
	"strings"
	"testing"

	"github.com/klinghook/klinghook/bench/internal/results"
)

func TestDrainBlock(t *testing.T) {
	text := drain(&results.Drain{
		Pgbench: []results.Pgbench{{Script: results.ScriptInserts, Clients: 16, Rates: []float64{8000, 6000, 7000}}},
		Rows: []results.DrainRow{
			{Name: results.PlainLoopback, Rates: []float64{5000, 10_000}},
			{Name: results.EffectlessLoopback, Rates: []float64{10_000, 20_000}},
			{Name: results.RowDeep, Rates: []float64{3500}, PostgresCPU: 1},
		},
		WholePath: &results.WholePath{Window: 512, Rates: []float64{3000, 4200, 3500}, IngestCPU: 40, SenderCPU: 20},
	})
	for _, want := range []string{
		"| 7,000 (6,000 to 8,000) | 1.00 | – |",
		"| klinghook worker, no work, loopback | 0.00 | 0 | 15,000 (10,000 to 20,000) | – | 2.00 (2.00 to 2.00) |",
		"| 3,500 | 0.50 | – |",
		"| whole path | – | 512 | 3,500 (3,000 to 4,200) | 0.50 | – |",
		"sender costs 20.0 and klinghook-ingest 40.0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
