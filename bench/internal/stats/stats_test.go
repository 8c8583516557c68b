package stats

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestSummarize(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []float64
		want   Summary
	}{
		{"none", nil, Summary{}},
		{"one", []float64{7}, Summary{1, 7, 7, 7}},
		{"odd, unsorted", []float64{9, 1, 5}, Summary{3, 5, 1, 9}},
		{"even", []float64{4, 1, 3, 2}, Summary{4, 2.5, 1, 4}},
		{"not numbers do not count", []float64{math.NaN(), 2, math.Inf(1), 4}, Summary{2, 3, 2, 4}},
		{"nothing but not numbers", []float64{math.NaN()}, Summary{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			given := slices.Clone(tt.values)
			if got := Summarize(tt.values); got != tt.want {
				t.Errorf("Summarize(%v) = %+v, want %+v", tt.values, got, tt.want)
			}
			if !slices.EqualFunc(given, tt.values, func(a, b float64) bool { return a == b || a != a && b != b }) {
				t.Errorf("the values were changed to %v", tt.values)
			}
		})
	}
}

func TestSpread(t *testing.T) {
	if got := Summarize([]float64{90, 100, 120}).Spread(); got != 0.3 {
		t.Errorf("spread = %v, want 0.3", got)
	}
	if got := (Summary{}).Spread(); got != 0 {
		t.Errorf("spread of nothing = %v, want 0", got)
	}
}

func TestRatios(t *testing.T) {
	for _, tt := range []struct {
		name       string
		a, b, want []float64
	}{
		// A machine that is twice as slow in one round leaves the ratio as it is.
		{"paired by round", []float64{10, 5, 12}, []float64{20, 10, 24}, []float64{0.5, 0.5, 0.5}},
		{"rounds of one only", []float64{10, 5}, []float64{20}, []float64{0.5}},
		{"none", nil, []float64{1}, []float64{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Ratios(tt.a, tt.b); !slices.Equal(got, tt.want) {
				t.Errorf("Ratios(%v, %v) = %v, want %v", tt.a, tt.b, got, tt.want)
			}
		})
	}
	if got := Ratios([]float64{1}, []float64{0}); !math.IsNaN(got[0]) {
		t.Errorf("ratio to nothing = %v, want not a number", got[0])
	}
}

func TestDifferences(t *testing.T) {
	if got := Differences([]float64{5, 7, 9}, []float64{4, 9}); !slices.Equal(got, []float64{1, -2}) {
		t.Errorf("differences = %v, want [1 -2]", got)
	}
}

func TestFormat(t *testing.T) {
	for want, got := range map[string]string{
		"–":                        Summary{}.Format(1),
		"12,345":                   Summarize([]float64{12345}).Format(0),
		"1.50 (1.00 to 2.00)":      Summarize([]float64{1, 2}).Format(2),
		"1,234,567.9":              Number(1234567.89, 1),
		"999":                      Number(999, 0),
		"-1,000":                   Number(-1000, 0),
		"31,000 (9,000 to 40,000)": Summarize([]float64{31000, 9000, 40000}).Format(0),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLatenciesMerge(t *testing.T) {
	quick, slow := NewLatencies(), NewLatencies()
	quick.Add(time.Millisecond, 99)
	slow.Add(100*time.Millisecond, 1)
	if got := quick.Percentile(99); math.Abs(got-1) > 0.01 {
		t.Errorf("p99 of the quick ones = %v ms, want 1", got)
	}
	all := NewLatencies()
	all.Merge(quick)
	all.Merge(slow)
	all.Merge(nil)
	if all.Count() != 100 {
		t.Errorf("count = %d, want 100", all.Count())
	}
	for p, want := range map[float64]float64{50: 1, 99: 1, 99.9: 100} {
		if got := all.Percentile(p); math.Abs(got-want) > want/100 {
			t.Errorf("p%v = %v ms, want %v", p, got, want)
		}
	}
	if quick.Count() != 99 || slow.Count() != 1 {
		t.Errorf("merging changed what was merged: %d and %d", quick.Count(), slow.Count())
	}
}

func TestLatenciesBeyondBounds(t *testing.T) {
	l := NewLatencies()
	l.Add(time.Hour, 1)
	l.Add(0, 1)
	if l.Count() != 2 {
		t.Errorf("count = %d, want 2: what is out of bounds must not vanish", l.Count())
	}
	if got := l.Percentile(100); math.Abs(got-120_000) > 120 {
		t.Errorf("longest = %v ms, want two minutes", got)
	}
}

func TestCurve(t *testing.T) {
	l := NewLatencies()
	if l.Curve() != nil {
		t.Error("no latencies have a curve")
	}
	for i := range 1000 {
		l.Add(time.Duration(i+1)*time.Millisecond, 1)
	}
	last := 0.0
	for _, p := range l.Curve() {
		if p.Ms < last || math.Abs(p.Ms-10*p.Percentile) > 12 {
			t.Errorf("p%v = %v ms, after %v", p.Percentile, p.Ms, last)
		}
		last = p.Ms
	}
}
