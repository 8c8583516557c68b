package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// form is how much of the suite runs.
type form struct {
	name  string
	limit time.Duration // of one scenario
	storm time.Duration // the length of the storm
}

func forms() []form {
	return []form{
		{"full", 8 * time.Minute, time.Minute},
		// Usually two minutes. A killed worker's tasks run again within 120 s, and an
		// attempt that fails then may wait for another minute.
		{"short", 4 * time.Minute, 20 * time.Second},
	}
}

// TestChaos runs the failure scenarios and checks that nothing acknowledged is lost
// and nothing takes effect twice.
func TestChaos(t *testing.T) {
	at := slices.IndexFunc(forms(), func(f form) bool { return f.name == os.Getenv("CHAOS") })
	if at < 0 {
		t.Skip("it takes minutes: `make chaos` runs all scenarios, `make chaos-short` one")
	}
	f := forms()[at]
	seed := rand.Uint64() >> 1
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
	}
	t.Logf("seed %d; again with: make %s CHAOS_SEED=%d", seed, map[string]string{"full": "chaos", "short": "chaos-short"}[f.name], seed)
	programs(t)
	var report report
	began := time.Now()
	t.Run("scenarios", func(t *testing.T) {
		for place, sc := range chosen(t, f) {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				runScenario(t, sc, f, seed+uint64(place), func(line row) {
					line.place = place
					report.add(line)
				})
			})
		}
	})
	t.Logf("seed %d, %s\n%s", seed, time.Since(began).Round(time.Second), report.table())
	if path := os.Getenv("CHAOS_REPORT"); path != "" && !t.Failed() {
		if err := replaceTable(path, fmt.Sprintf("%s\n%s", circumstances(seed, time.Since(began)), report.table())); err != nil {
			t.Error(err)
		}
	}
}

// chosen returns the scenarios of the form, or those named in the environment.
func chosen(t *testing.T, f form) []scenario {
	all := scenarios()
	names := os.Getenv("CHAOS_SCENARIO")
	if names == "" {
		return slices.DeleteFunc(all, func(sc scenario) bool { return f.name == "short" && !sc.short })
	}
	var list []scenario
	for name := range strings.SplitSeq(names, ",") {
		at := slices.IndexFunc(all, func(sc scenario) bool { return sc.name == strings.TrimSpace(name) })
		if at < 0 {
			t.Fatalf("CHAOS_SCENARIO: there is no scenario %q", name)
		}
		list = append(list, all[at])
	}
	return list
}

// runScenario runs one scenario and compares the result with the events sent.
func runScenario(t *testing.T, sc scenario, f form, seed uint64, report func(row)) {
	var l layout
	if sc.layout != nil {
		l = sc.layout(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), f.limit)
	defer cancel()
	s := newSystem(ctx, t, seed, l)
	sc.run(s, f)
	settled := s.settle()
	if n := s.replay(); n > 0 {
		t.Logf("replayed %d files that were missing for a while", n)
		settled += s.settle()
	}
	s.tidy()
	line, problems := s.reconcile()
	line.scenario, line.settled, line.failed = sc.name, settled, t.Failed() || len(problems) > 0
	report(line)
	if len(problems) > 0 {
		t.Errorf("%d problems:\n%s", len(problems), strings.Join(problems[:min(len(problems), 40)], "\n"))
	}
}

// circumstances describes a run of all scenarios.
func circumstances(seed uint64, took time.Duration) string {
	version := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			return "unknown " + name
		}
		return strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("`make chaos CHAOS_SEED=%d` took %s on %d cores, with %s.\n",
		seed, took.Round(time.Second), runtime.NumCPU(), version("redis-server", "--version"))
}
