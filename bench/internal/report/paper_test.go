package report

import (
	"math"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

func measured() *results.Results {
	return &results.Results{
		Saturation: &results.Saturation{Settings: []results.Setting{{Name: results.Everysec, Contenders: []results.Contender{
			{Name: rig.Klinghook, Rounds: []results.Round{{Rate: 30_000, CPU: 30, RedisCPU: 20}}},
		}}}},
		Memory: &results.Memory{Rows: []results.MemoryRow{{BodySize: 512, Events: 1, Pending: 1500, Retained: 2000}}},
		Drain: &results.Drain{
			Pgbench: []results.Pgbench{{Script: results.ScriptRecord, Rates: []float64{4000}}},
			Rows:    []results.DrainRow{{Name: results.RowLoopback, Rates: []float64{2000}, CPU: 300, RedisCPU: 40, PostgresCPU: 200}},
		},
	}
}

func TestNeeds(t *testing.T) {
	c, ok := costsOf(measured())
	if !ok {
		t.Fatal("some costs are missing")
	}
	// By hand: 2 × 0.6 / 30 µs, 0.6 / 60 µs, 16 GiB / (3600 × 2000 + 60 × 1500), 0.6 × 2000, 0.6 × 4000.
	want := []float64{40_000, 10_000, 2356.6, 1200, 2400}
	for i, n := range c.needs() {
		if math.Abs(n.takes-want[i]) > 0.01*want[i] {
			t.Errorf("one of the %s takes %.1f events/s, want %.1f", n.what, n.takes, want[i])
		}
	}
}

func TestPaper(t *testing.T) {
	text := paper(measured())
	for _, want := range []string{
		"| worker processes | as measured | 1,200 | 1 | 84 |",
		"breaks in this order: worker processes at 1,200/s; Redis servers, by memory at 2,35",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	incomplete := measured()
	incomplete.Drain.Rows = nil
	if text := paper(incomplete); strings.Contains(text, "|") {
		t.Errorf("computed from what was not measured:\n%s", text)
	}
}
