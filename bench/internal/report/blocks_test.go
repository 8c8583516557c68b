package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
	"github.com/klinghook/klinghook/bench/internal/stats"
)

// TestBlocksFitTheDocument finds a block or a place that the other does not know
// before a run of half an hour does.
func TestBlocksFitTheDocument(t *testing.T) {
	document, err := os.ReadFile("../../../docs/PERFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fill(string(document), Blocks(new(results.Results))); err != nil {
		t.Error(err)
	}
}

func compared() results.Setting {
	curve := []stats.Point{{Percentile: 50, Ms: 1}, {Percentile: 99, Ms: 5}}
	return results.Setting{Name: results.Everysec, Contenders: []results.Contender{
		{Name: rig.Echo, Rounds: []results.Round{{Rate: 80_000, P99: 4}, {Rate: 40_000, P99: 8}}, Curve: curve},
		{Name: rig.Plain, Rounds: []results.Round{{Rate: 20_000, P99: 9}, {Rate: 10_000, P99: 9}}, Curve: curve},
		{Name: rig.Klinghook, Rounds: []results.Round{{Rate: 40_000, P99: 5, Requests: 100}, {Rate: 20_000, P99: 9, Requests: 100, Errors: 3}}, Curve: curve},
		{Name: rig.Express, Missing: "apt-get install it"},
	}}
}

func TestSaturationBlock(t *testing.T) {
	text := saturation(&results.Saturation{Connections: 64, BodySize: 550, Seconds: 8, Tool: "wrk", Settings: []results.Setting{compared()}})
	for _, want := range []string{
		// The ratio is the same in both rounds, though the rates are not.
		"| klinghook-ingest | 30,000 (20,000 to 40,000) | 0.50 (0.50 to 0.50) | 2.00 (2.00 to 2.00) |",
		"| 3 of 200 |",
		"Express did not take part",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestSteadyBlock(t *testing.T) {
	text := steady(&results.Steady{Rate: 7500, Seconds: 8, Setting: compared()})
	if want := "| 7.00 (5.00 to 9.00) | 1.00 (1.00 to 1.00) |"; !strings.Contains(text, want) {
		t.Errorf("klinghook's p99 and what it is over bare Echo's, %q, are not in\n%s", want, text)
	}
}

func TestStampTellsOfABusyMachine(t *testing.T) {
	stamp := results.Stamp{At: time.Unix(0, 0).UTC(), Commit: "abc", Machine: results.Machine{Cores: 2}, Load: 4}
	if text := stamped(stamp); !strings.Contains(text, "4.0") {
		t.Errorf("a load average of 4 on two cores is not told: %s", text)
	}
	stamp.Load = 0.2
	if text := stamped(stamp); strings.Contains(text, "other work") {
		t.Errorf("a machine at rest is said to be busy: %s", text)
	}
}

func TestPlots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plots")
	r := &results.Results{
		Steady: &results.Steady{Rate: 100, Setting: compared()},
		Growth: &results.Growth{Cells: []results.Cell{
			{Connections: 1, BodySize: 512, Round: results.Round{Rate: 10}}, {Connections: 64, BodySize: 512, Round: results.Round{Rate: 90}},
			{Connections: 1, BodySize: 4096, Round: results.Round{Rate: 5}}, {Connections: 64, BodySize: 4096, Round: results.Round{Rate: 50}},
		}},
		Soak: &results.Soak{Samples: []results.SoakSample{{Second: 0, MiB: 15}, {Second: 60, MiB: 24}}},
	}
	if err := Plots(r, dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"rate.svg": "4 KiB", "latency.svg": rig.Klinghook, "memory.svg": "minutes"} {
		drawn, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(drawn), want) {
			t.Errorf("%s does not show %q", name, want)
		}
	}
}
