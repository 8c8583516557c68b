package report

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/klinghook/klinghook/bench/internal/results"
)

const plotWidth, plotHeight = 18 * vg.Centimeter, 10 * vg.Centimeter

// line is one line of a plot.
type line struct {
	name   string
	points plotter.XYs
}

// Plots draws what was measured into a folder, which it makes.
func Plots(r *results.Results, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	if r.Growth != nil {
		errs = append(errs, save(ratePlot(r.Growth), filepath.Join(dir, "rate.svg")))
	}
	if r.Steady != nil {
		errs = append(errs, save(latencyPlot(r.Steady), filepath.Join(dir, "latency.svg")))
	}
	if r.Soak != nil {
		errs = append(errs, save(memoryPlot(r.Soak), filepath.Join(dir, "memory.svg")))
	}
	return errors.Join(errs...)
}

// save leaves room for the legend above the lines, and for the last tick's label.
func save(p *plot.Plot, path string) error {
	p.X.Max += (p.X.Max - p.X.Min) / 20
	p.Y.Max += (p.Y.Max - p.Y.Min) / 4
	return p.Save(plotWidth, plotHeight, path)
}

// newPlot returns a plot with lines that are told apart in colour and in grey.
func newPlot(title, x, y string, lines []line) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Add(plotter.NewGrid())
	// Okabe and Ito's colours, which the colour-blind can tell apart.
	colours := []color.Color{
		color.RGBA{0, 114, 178, 255}, color.RGBA{230, 159, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255}, color.RGBA{213, 94, 0, 255},
	}
	for i, l := range lines {
		if len(l.points) == 0 {
			continue
		}
		drawn, err := plotter.NewLine(l.points)
		if err != nil {
			continue // a figure that is not a number cannot be drawn
		}
		drawn.Color, drawn.Width = colours[i%len(colours)], vg.Points(1.6)
		drawn.Dashes = [][]vg.Length{nil, {vg.Points(6), vg.Points(3)}, {vg.Points(2), vg.Points(2)}}[i%3]
		p.Add(drawn)
		if len(lines) > 1 {
			p.Legend.Add(l.name, drawn)
		}
	}
	p.Legend.Top = true
	p.Legend.XOffs, p.Legend.YOffs = -vg.Points(4), -vg.Points(4)
	p.Legend.Padding = vg.Points(3)
	p.Title.Padding = vg.Points(6)
	return p
}

// ratePlot is the rate by connections, a line for each size of body.
func ratePlot(g *results.Growth) *plot.Plot {
	var lines []line
	ticks := make(map[int]bool)
	for _, c := range g.Cells {
		name := size(c.BodySize)
		if len(lines) == 0 || lines[len(lines)-1].name != name {
			lines = append(lines, line{name: name})
		}
		l := &lines[len(lines)-1]
		l.points = append(l.points, plotter.XY{X: math.Log2(float64(c.Connections)), Y: c.Rate})
		ticks[c.Connections] = true
	}
	p := newPlot("klinghook-ingest: answers a second", "connections", "answers/s", lines)
	p.Y.Min = 0
	var marks []plot.Tick
	for n := range ticks {
		marks = append(marks, plot.Tick{Value: math.Log2(float64(n)), Label: strconv.Itoa(n)})
	}
	p.X.Tick.Marker = plot.ConstantTicks(marks)
	return p
}

// latencyPlot is the distribution of latencies at a constant rate. Its horizontal
// axis gives each further nine as much room as the one before.
func latencyPlot(s *results.Steady) *plot.Plot {
	nines := func(percentile float64) float64 { return -math.Log10(1 - percentile/100) }
	var lines []line
	for _, c := range s.Contenders {
		l := line{name: c.Name}
		for _, point := range c.Curve {
			// A logarithm of the latency, too: a stall is a hundred times the median.
			l.points = append(l.points, plotter.XY{X: nines(point.Percentile), Y: math.Log10(math.Max(point.Ms, 0.01))})
		}
		lines = append(lines, l)
	}
	p := newPlot(fmt.Sprintf("latency at %d deliveries a second", s.Rate), "percentile", "ms", lines)
	var marks, levels []plot.Tick
	for _, percentile := range []float64{50, 90, 99, 99.9, 99.99} {
		marks = append(marks, plot.Tick{Value: nines(percentile), Label: strconv.FormatFloat(percentile, 'g', -1, 64)})
	}
	for _, level := range []float64{0.01, 0.1, 1, 10, 100, 1000, 10000} {
		levels = append(levels, plot.Tick{Value: math.Log10(level), Label: strconv.FormatFloat(level, 'g', -1, 64)})
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(marks), plot.ConstantTicks(levels)
	p.Legend.Left, p.Legend.XOffs = true, vg.Points(4)
	return p
}

// memoryPlot is the resident memory over a soak.
func memoryPlot(s *results.Soak) *plot.Plot {
	l := line{name: "klinghook-ingest"}
	for _, sample := range s.Samples {
		l.points = append(l.points, plotter.XY{X: sample.Second / 60, Y: sample.MiB})
	}
	p := newPlot(fmt.Sprintf("klinghook-ingest: resident memory at %d deliveries a second", s.Rate), "minutes", "MiB", []line{l})
	p.Y.Min = 0
	return p
}
