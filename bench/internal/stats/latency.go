package stats

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// longest is the longest latency that is told apart from longer ones.
	longest = 2 * time.Minute
	// digits is how exact a latency is kept: to a thousandth.
	digits = 3
)

// Latencies are how long requests took, to the microsecond.
type Latencies struct{ histogram *hdrhistogram.Histogram }

// NewLatencies returns no latencies yet.
func NewLatencies() *Latencies {
	return &Latencies{hdrhistogram.New(1, longest.Microseconds(), digits)}
}

// Add notes n requests that took as long. What took longer than two minutes counts
// as two minutes.
func (l *Latencies) Add(took time.Duration, n int64) {
	us := min(max(took.Microseconds(), 1), longest.Microseconds())
	// Within its bounds every value can be recorded.
	_ = l.histogram.RecordValues(us, n)
}

// Merge adds all of another's, which may be nil.
func (l *Latencies) Merge(other *Latencies) {
	if other != nil {
		l.histogram.Merge(other.histogram)
	}
}

// Count is how many requests were noted.
func (l *Latencies) Count() int64 { return l.histogram.TotalCount() }

// Percentile returns the latency, in milliseconds, within which the given percentage
// of the requests was answered; zero of none.
func (l *Latencies) Percentile(p float64) float64 {
	return float64(l.histogram.ValueAtPercentile(p)) / 1000
}

// Point is one point of a latency distribution.
type Point struct {
	Percentile float64 `json:"percentile"`
	Ms         float64 `json:"ms"`
}

// Curve returns the distribution at the percentiles that a plot of it needs.
func (l *Latencies) Curve() []Point {
	if l.Count() == 0 {
		return nil
	}
	var curve []Point
	for _, p := range []float64{1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.99} {
		curve = append(curve, Point{p, l.Percentile(p)})
	}
	return curve
}
