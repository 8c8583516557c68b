package chaos

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

	"github.com/klinghook/klinghook/internal/programs"
	"github.com/klinghook/klinghook/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// form is how much is run.
type form struct {
	name string
	// limit bounds one scenario.
	limit time.Duration
	// storm is how long things die at random.
	storm time.Duration
}

func forms() []form {
	return []form{
		{"full", 8 * time.Minute, time.Minute},
		// Two minutes as a rule. What a killed worker held is taken up 120 s later at the
		// latest, and an attempt that failed may wait for a minute then.
		{"short", 4 * time.Minute, 20 * time.Second},
	}
}

// scenario is one way in which things go wrong, and a line of the report.
type scenario struct {
	name string
	// short says that it belongs to the short form too.
	short bool
	// layout, where there is one, says what is to be otherwise than usual.
	layout func(t *testing.T) layout
	// run makes things go wrong under load. It returns when nothing is wrong any
	// more and everything was sent.
	run func(s *system, f form)
}

func TestChaos(t *testing.T) {
	at := slices.IndexFunc(forms(), func(f form) bool { return f.name == os.Getenv("CHAOS") })
	if at < 0 {
		t.Skip("the failure suite runs for minutes: `make chaos` runs it, `make chaos-short` a part of it")
	}
	f := forms()[at]
	seed := rand.Uint64() >> 1
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED is no number: %v", err)
		}
	}
	t.Logf("seed %d; again with: make %s CHAOS_SEED=%d", seed, map[string]string{"full": "chaos", "short": "chaos-short"}[f.name], seed)
	set, err := programs.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Remove)

	var report report
	begun := time.Now()
	t.Run("scenarios", func(t *testing.T) {
		for place, sc := range chosen(t, f) {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				runScenario(t, sc, f, set, seed+uint64(place), func(line row) {
					line.place = place
					report.add(line)
				})
			})
		}
	})
	t.Logf("seed %d, %s in all\n%s", seed, time.Since(begun).Round(time.Second), report.table())
	if path := os.Getenv("CHAOS_REPORT"); path != "" && !t.Failed() {
		if err := renew(path, fmt.Sprintf("%s\n%s", circumstances(seed, time.Since(begun)), report.table())); err != nil {
			t.Error(err)
		}
	}
}

// chosen returns the scenarios of the form, or those that the environment names.
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

// runScenario runs one scenario and holds what comes of it against what was sent.
func runScenario(t *testing.T, sc scenario, f form, set *programs.Set, seed uint64, report func(row)) {
	var l layout
	if sc.layout != nil {
		l = sc.layout(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), f.limit)
	defer cancel()
	s := newSystem(ctx, t, set, seed, l)
	sc.run(s, f)
	settled := s.settle()
	if n := s.replay(); n > 0 {
		t.Logf("%d files that were not there for a while were replayed by hand", n)
		settled += s.settle()
	}
	line, problems := s.reconcile()
	line.scenario, line.settled, line.failed = sc.name, settled, t.Failed() || len(problems) > 0
	report(line)
	if len(problems) > 0 {
		t.Errorf("%d things are wrong:\n%s", len(problems), strings.Join(problems[:min(len(problems), 40)], "\n"))
	}
}

// circumstances says of a report what it was made with.
func circumstances(seed uint64, took time.Duration) string {
	version := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			return name + " of unknown version"
		}
		return strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("`make chaos CHAOS_SEED=%d` took %s on %d cores, with %s.\n",
		seed, took.Round(time.Second), runtime.NumCPU(), version("redis-server", "--version"))
}
