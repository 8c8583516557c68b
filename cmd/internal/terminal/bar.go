package terminal

import (
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Format writes for a person how much there is of something, e.g. "1.5 MiB".
type Format func(n int64) string

// Bar shows how far something is. Without a terminal it shows nothing.
type Bar struct {
	screen *Screen
	bar    *mpb.Bar // nil without a terminal
	ended  bool     // the screen's mutex guards it
}

// Bar begins a bar with a name, which must not move the cursor. The caller ends it.
func (s *Screen) Bar(name string, format Format) *Bar {
	b := &Bar{screen: s}
	if !s.canBars {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress == nil {
		s.progress = mpb.New(mpb.WithOutput(s.err.file))
	}
	began := time.Now()
	progress := decor.Any(func(at decor.Statistics) string { return describe(at.Current, at.Total, time.Since(began), format) })
	// Without a total it does not end by itself: End takes it away.
	bar, err := s.progress.Add(0, mpb.BarStyle().Build(),
		mpb.PrependDecorators(decor.Name("  "+name+" ")), mpb.AppendDecorators(decor.Name(" "), progress))
	if err != nil {
		return b // the terminal could not be written to
	}
	b.bar = bar
	s.bars++
	return b
}

// Set says how far it is: current of total, which is 0 or less where it is not known.
func (b *Bar) Set(current, total int64) {
	if b.bar == nil {
		return
	}
	b.bar.SetTotal(max(total, 0), false)
	b.bar.SetCurrent(current)
}

// End takes the bar away. It may be called again.
func (b *Bar) End() {
	s := b.screen
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.bar == nil || b.ended {
		return
	}
	b.ended = true
	b.bar.Abort(true)
	if s.bars--; s.bars > 0 {
		return
	}
	// What was written above the bars is on the terminal when this returns.
	s.progress.Wait()
	s.progress = nil
}

// describe says in words what the bar shows.
func describe(current, total int64, took time.Duration, format Format) string {
	text := format(current)
	if total <= 0 {
		return text
	}
	text += " of " + format(total)
	// The first moments tell nothing of the rest.
	if current > 0 && current < total && took > time.Second {
		left := time.Duration(float64(took) / float64(current) * float64(total-current))
		text += ", " + left.Round(time.Second).String() + " left"
	}
	return text
}
