package suite

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

func TestReadPgbench(t *testing.T) {
	got, err := readPgbench([]byte("latency average = 1.2 ms\ninitial connection time = 9.9 ms\ntps = 1234.567890 (without initial connection time)\n"))
	if err != nil || got != 1234.56789 {
		t.Errorf("readPgbench = %v, %v; want 1234.56789", got, err)
	}
	if _, err := readPgbench([]byte("pgbench: error: connection failed\n")); err == nil || !strings.Contains(err.Error(), "connection failed") {
		t.Errorf("error = %v, want one with what pgbench printed", err)
	}
}

func TestUntil(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		done func(calls int) (bool, error)
		want bool
		err  error
	}{
		{"at once", func(int) (bool, error) { return true, nil }, true, nil},
		{"after some calls", func(calls int) (bool, error) { return calls == 3, nil }, true, nil},
		{"never", func(int) (bool, error) { return false, nil }, false, nil},
		{"broken", func(int) (bool, error) { return false, broken }, false, broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			got, err := until(t.Context(), time.Millisecond, 50*time.Millisecond, func(context.Context) (bool, error) {
				calls++
				return tt.done(calls)
			})
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("until = %v, %v; want %v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestDrainSpan(t *testing.T) {
	began := time.Now()
	d := drainSpan{
		first: reading{at: began, done: 100, used: [workers]rig.Usage{{CPU: time.Second}}},
		last:  reading{at: began.Add(2 * time.Second), done: 1100, used: [workers]rig.Usage{{CPU: 1500 * time.Millisecond}}},
	}
	if got := d.rate(); got != 500 {
		t.Errorf("rate = %v, want 500", got)
	}
	if got := d.cpu(worked); got != 500 {
		t.Errorf("cpu = %v µs, want 500", got)
	}
}

// TestWhatGoesByTheSaturation needs it: a rate made up would be worse than none.
func TestWhatGoesByTheSaturation(t *testing.T) {
	s := Suite{Plan: Short(), Out: &strings.Builder{}}
	s.Plan.Soak = time.Second
	kept := 0
	err := s.Run(t.Context(), []string{"steady", "soak"}, new(results.Results), func() error { kept++; return nil })
	if err == nil || strings.Count(err.Error(), "measure that first") != 2 {
		t.Errorf("error = %v, want that of both sections", err)
	}
	if kept != 0 {
		t.Error("results of a section that failed were kept")
	}
}

func TestPlansNameWhatThereIs(t *testing.T) {
	for _, p := range []Plan{Full(), Short()} {
		for _, size := range p.BodySizes {
			if p.SizeBudget/size < 64 {
				t.Errorf("%s: only %d deliveries of %d bytes", p.Name, p.SizeBudget/size, size)
			}
		}
		if !slices.IsSorted(p.Connections) || !slices.IsSorted(p.Workers) || p.Workers[0] != 1 {
			t.Errorf("%s: connections %v and workers %v must rise, the latter from 1", p.Name, p.Connections, p.Workers)
		}
	}
}
