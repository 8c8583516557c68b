package stats

import (
	"fmt"
	"math"
	"slices"
)

// Summary is what several rounds of one measurement come to. Its zero value is of
// no rounds.
type Summary struct {
	Rounds           int
	Median, Min, Max float64
}

// Summarize returns the summary of values. Those that are not a number, such as the
// ratio to a round that failed, do not count.
func Summarize(values []float64) Summary {
	sorted := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	if len(sorted) == 0 {
		return Summary{}
	}
	slices.Sort(sorted)
	n := len(sorted)
	return Summary{
		Rounds: n,
		Median: (sorted[(n-1)/2] + sorted[n/2]) / 2,
		Min:    sorted[0],
		Max:    sorted[n-1],
	}
}

// Spread is the distance from the least to the greatest round as a part of the
// median; zero when there is no median.
func (s Summary) Spread() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.Max - s.Min) / s.Median
}

// Ratios returns the ratio of a to b, round by round: what slowed the machine down
// for a while has slowed both. Rounds that only one of them has are left out, and
// one in which b is zero is not a number.
func Ratios(a, b []float64) []float64 {
	ratios := make([]float64, 0, min(len(a), len(b)))
	for i := range min(len(a), len(b)) {
		if b[i] == 0 {
			ratios = append(ratios, math.NaN())
			continue
		}
		ratios = append(ratios, a[i]/b[i])
	}
	return ratios
}

// Differences returns how much greater a is than b, round by round. Rounds that only
// one of them has are left out.
func Differences(a, b []float64) []float64 {
	differences := make([]float64, 0, min(len(a), len(b)))
	for i := range min(len(a), len(b)) {
		differences = append(differences, a[i]-b[i])
	}
	return differences
}

// Format writes the median with the range behind it: "1.52 (1.48 to 1.60)"; "–" of no
// rounds. digits are those after the point.
func (s Summary) Format(digits int) string {
	switch s.Rounds {
	case 0:
		return "–"
	case 1:
		return Number(s.Median, digits)
	}
	return fmt.Sprintf("%s (%s to %s)", Number(s.Median, digits), Number(s.Min, digits), Number(s.Max, digits))
}

// Number writes a number with commas between thousands.
func Number(v float64, digits int) string {
	text := fmt.Sprintf("%.*f", digits, math.Abs(v))
	whole := len(text)
	if digits > 0 {
		whole -= digits + 1
	}
	for at := whole - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	if v < 0 {
		return "-" + text
	}
	return text
}
