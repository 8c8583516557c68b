package main

import (
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// amountFormat formats an amount for people, such as "1.5 MiB".
type amountFormat func(n int64) string

// progressBar shows progress. Without a terminal it shows nothing.
type progressBar struct {
	screen *console
	bar    *mpb.Bar // nil without a terminal
	ended  bool     // the screen's mutex guards it
}

// Bar starts a bar. The caller must call End. The name must not move the cursor.
func (s *console) Bar(name string, format amountFormat) *progressBar {
	b := &progressBar{screen: s}
	if !s.canBars {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress == nil {
		s.progress = mpb.New(mpb.WithOutput(s.err.file))
	}
	started := time.Now()
	progress := decor.Any(func(at decor.Statistics) string { return describe(at.Current, at.Total, time.Since(started), format) })
	// Without a total, only End ends the bar.
	bar, err := s.progress.Add(0, mpb.BarStyle().Build(),
		mpb.PrependDecorators(decor.Name("  "+name+" ")), mpb.AppendDecorators(decor.Name(" "), progress))
	if err != nil {
		return b // writing to the terminal failed
	}
	b.bar = bar
	s.bars++
	return b
}

// Set shows current of total, which is 0 or less if unknown.
func (b *progressBar) Set(current, total int64) {
	if b.bar == nil {
		return
	}
	b.bar.SetTotal(max(total, 0), false)
	b.bar.SetCurrent(current)
}

// End removes the bar. It may be called again.
func (b *progressBar) End() {
	console := b.screen
	console.mu.Lock()
	defer console.mu.Unlock()
	if b.bar == nil || b.ended {
		return
	}
	b.ended = true
	b.bar.Abort(true)
	if console.bars--; console.bars > 0 {
		return
	}
	// Wait prints the remaining lines above the bars.
	console.progress.Wait()
	console.progress = nil
}

// describe returns the text beside the bar.
func describe(current, total int64, took time.Duration, format amountFormat) string {
	text := format(current)
	if total <= 0 {
		return text
	}
	text += " of " + format(total)
	// In the first second, an estimate would be too rough.
	if current > 0 && current < total && took > time.Second {
		left := time.Duration(float64(took) / float64(current) * float64(total-current))
		text += ", " + left.Round(time.Second).String() + " left"
	}
	return text
}
