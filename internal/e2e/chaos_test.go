package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
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
	list := chosen(t, f)
	table := make([]string, len(list))
	t.Run("scenarios", func(t *testing.T) {
		for place, sc := range list {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				table[place] = runScenario(t, sc, f, seed+uint64(place))
			})
		}
	})
	t.Logf("seed %d on %d cores\n"+
		"| scenario | sent | acknowledged | refused | kept | effects | repeats | lost | settled in |\n%s|\n%s",
		seed, runtime.NumCPU(), strings.Repeat("| --- ", 9), strings.Join(table, ""))
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

// runScenario runs one scenario, compares the result with the events sent, and returns
// a row of the table.
func runScenario(t *testing.T, sc scenario, f form, seed uint64) string {
	var l layout
	if sc.layout != nil {
		l = sc.layout(t)
	}
	s := newSystem(t, seed, l)
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithTimeout(t.Context(), f.limit)
	defer cancel()
	sc.run(s, f)
	settled := s.settle(s.admins...)
	if n := s.replay(); n > 0 {
		t.Logf("replayed %d files that were missing for a while", n)
		settled += s.settle(s.admins...)
	}
	s.tidy()
	return fmt.Sprintf("| %s | %s |\n", sc.name, s.reconcile().cells(settled))
}
