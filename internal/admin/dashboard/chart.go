package dashboard

import (
	"fmt"
	"strings"
	"time"
)

// The size of a chart in units of its own; the page stretches it.
const (
	chartWidth  = 240.0
	chartHeight = 40.0
	// chartMinutes is how much time a chart shows.
	chartMinutes = 60
)

// chart is a small chart of the last hour.
type chart struct {
	// Label describes the chart in words; Highest is the highest value.
	Label   string
	Highest int
	// Line and Area are paths. Bad are the bars of failures.
	Line, Area string
	Bars, Bad  []bar
}

// bar is a rectangle of a chart.
type bar struct{ X, Y, Width, Height string }

// units formats a length.
func units(length float64) string { return fmt.Sprintf("%.1f", length) }

// across returns the x coordinate of a time in a chart that ends now.
func across(at, now time.Time) float64 {
	return chartWidth * (1 - now.Sub(at).Minutes()/chartMinutes)
}

// depthChart shows how many tasks waited.
func depthChart(name string, samples []QueueSample, now time.Time) chart {
	highest := 0
	for _, sample := range samples {
		highest = max(highest, sample.Waiting)
	}
	c := chart{Label: name + ": tasks waiting in the last hour, at most " + count(highest), Highest: highest}
	var points []string
	var first, last float64
	for _, sample := range samples {
		x := across(sample.At, now)
		if x < 0 {
			continue
		}
		if len(points) == 0 {
			first = x
		}
		last = x
		y := chartHeight - 1 - (chartHeight-2)*float64(sample.Waiting)/float64(max(highest, 1))
		points = append(points, units(x)+" "+units(y))
	}
	if len(points) > 1 {
		c.Line = "M" + strings.Join(points, "L")
		c.Area = c.Line + "L" + units(last) + " " + units(chartHeight) + "L" + units(first) + " " + units(chartHeight) + "Z"
	}
	return c
}

// rateChart shows how many attempts ended in each minute, and how many of them failed.
func rateChart(name string, samples []QueueSample, now time.Time) chart {
	var runs, failures [chartMinutes]int
	for i := 1; i < len(samples); i++ {
		before, sample := samples[i-1], samples[i]
		minute := chartMinutes - 1 - int(now.Truncate(time.Minute).Sub(sample.At.Truncate(time.Minute))/time.Minute)
		if minute < 0 || minute >= chartMinutes {
			continue
		}
		runs[minute] += max(sample.Runs-before.Runs, 0) // counts restart if Redis is emptied
		failures[minute] += max(sample.Failures-before.Failures, 0)
	}
	highest := 0
	for _, n := range runs {
		highest = max(highest, n)
	}
	c := chart{Label: name + ": attempts per minute in the last hour, at most " + count(highest), Highest: highest}
	const step = chartWidth / chartMinutes
	for minute, n := range runs {
		add := func(bars []bar, n int) []bar {
			if n == 0 {
				return bars
			}
			height := max(chartHeight*float64(n)/float64(highest), 1)
			return append(bars, bar{units(float64(minute) * step), units(chartHeight - height), units(step - 1), units(height)})
		}
		c.Bars, c.Bad = add(c.Bars, n), add(c.Bad, min(failures[minute], n))
	}
	return c
}
