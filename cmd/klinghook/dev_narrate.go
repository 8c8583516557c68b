package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/klinghook/klinghook/cmd/internal/terminal"
	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

// tellOn decides how dev tells what happens: to a person who looks on, unless that
// one asked for the log, by a narrator, beside which the log has only what went wrong
// elsewhere. It returns the log.
func (d *dev) tellOn(screen *terminal.Screen) (*zap.Logger, error) {
	cfg := logConfig(d.cfg)
	cfg.Through = screen.Err()
	if screen.Watched() && cfg.Format == "auto" && cfg.Level == "info" {
		cfg.Level = "warn"
		d.narrator = &narrator{
			screen: screen, out: screen.Out(), coloured: screen.Coloured(), now: time.Now,
			deadLetters: commandName() + " deadletters list" + d.dataFlag(),
			refusals:    rate.NewLimiter(refusalsPerSecond, refusalsPerSecond), bars: map[string]*terminal.Bar{},
		}
	}
	return process.NewLogger(cfg)
}

// refusalsPerSecond is how many refused deliveries are told of: whoever has no secret
// must not be able to fill the terminal.
const refusalsPerSecond = 5

// narrator tells on the terminal what becomes of deliveries, in one line for each
// step. It is safe for concurrent use.
type narrator struct {
	screen   *terminal.Screen
	out      io.Writer
	coloured bool
	now      func() time.Time
	// deadLetters is the command that shows what was given up.
	deadLetters string
	refusals    *rate.Limiter

	mu sync.Mutex // guards what follows
	// bars are those of the downloads that run, by job and file.
	bars map[string]*terminal.Bar
	// untold is how many refusals there were since the last that was told.
	untold int
}

// worker is the narrator as a worker takes it; nil where there is none.
func (n *narrator) worker() worker.Observer {
	if n == nil {
		return nil
	}
	return n
}

// ingest is the narrator as ingest takes it; nil where there is none.
func (n *narrator) ingest() func(ingest.Delivery) {
	if n == nil {
		return nil
	}
	return n.delivered
}

// step is a kind of line, by its first word.
type step string

const (
	stepReceived    step = "received"
	stepRepeated    step = "repeated"
	stepRefused     step = "refused"
	stepRecorded    step = "recorded"
	stepDownloading step = "downloading"
	stepStored      step = "stored"
	stepNotified    step = "notified"
	stepDone        step = "done"
	stepFailed      step = "failed"
	stepGivenUp     step = "given up"
	stepPutBack     step = "put back"
)

// colour is the escape sequence that a step's word begins with; empty for none.
func (s step) colour() string {
	switch s {
	case stepStored, stepNotified:
		return "\x1b[32m" // green
	case stepRefused, stepFailed, stepPutBack:
		return "\x1b[33m" // yellow
	case stepGivenUp:
		return "\x1b[31m" // red
	}
	return ""
}

// say prints a line. about is the job, or who else it is about.
func (n *narrator) say(about string, s step, format string, args ...any) {
	at, word := n.now().Format("15:04:05"), fmt.Sprintf("%-11s", s)
	if n.coloured {
		at = "\x1b[2m" + at + "\x1b[0m"
		if c := s.colour(); c != "" {
			word = c + word + "\x1b[0m"
		}
	}
	text := oneLine(fmt.Sprintf(format, args...))
	fmt.Fprintf(n.out, "%s  %-18s  %s  %s\n", at, oneLine(cut(about, 40)), word, text)
}

// delivered tells of a delivery.
func (n *narrator) delivered(d ingest.Delivery) {
	switch {
	case d.Status >= 300:
		n.refused(d)
	case d.Duplicate:
		n.say(cmp.Or(d.JobID, d.Source), stepRepeated, "%s, which was received before", d.Type)
	default:
		n.say(cmp.Or(d.JobID, d.Source), stepReceived, "%s, answered in %s", d.Type, shortly(d.Took))
	}
}

func (n *narrator) refused(d ingest.Delivery) {
	n.mu.Lock()
	if !n.refusals.AllowN(n.now(), 1) {
		n.untold++
		n.mu.Unlock()
		return
	}
	more := ""
	if n.untold > 0 {
		more = fmt.Sprintf(" (and %d more before)", n.untold)
	}
	n.untold = 0
	n.mu.Unlock()
	reason := d.Outcome
	if d.Reason != nil {
		reason = d.Reason.Error()
	}
	n.say(d.Source, stepRefused, "a delivery with %d: %s%s", d.Status, reason, more)
}

// Downloading implements [worker.Observer].
func (n *narrator) Downloading(jobID, name, host string) (progress func(received, total int64)) {
	n.say(jobID, stepDownloading, "%s from %s", name, host)
	n.mu.Lock()
	defer n.mu.Unlock()
	key := jobID + "/" + name
	bar, ok := n.bars[key]
	if !ok {
		bar = n.screen.Bar(oneLine(cut(jobID, 40)+"  "+name), bytesText)
		n.bars[key] = bar
	}
	return bar.Set
}

// endBar takes a download's bar away.
func (n *narrator) endBar(jobID, name string) {
	n.mu.Lock()
	key := jobID + "/" + name
	bar := n.bars[key]
	delete(n.bars, key)
	n.mu.Unlock()
	if bar != nil {
		bar.End()
	}
}

// Attempted implements [worker.Observer].
func (n *narrator) Attempted(a worker.Attempt) {
	if a.Kind == tasks.KindMediaDownload {
		n.endBar(a.JobID, a.Media)
	}
	job := cmp.Or(a.JobID, "-")
	switch a.Outcome {
	case worker.Done:
		n.done(job, a)
	case worker.Retried:
		n.say(job, stepFailed, "%s, attempt %d of %d: %s; tries again in %s", work(a), a.Number, a.Last, reasonOf(a), shortly(a.RetryIn))
	case worker.GivenUp:
		n.say(job, stepGivenUp, "%s, attempt %d: %s; `%s` shows it, and it can be replayed", work(a), a.Number, reasonOf(a), n.deadLetters)
	case worker.Interrupted:
		n.say(job, stepPutBack, "%s: this process stops; it goes on with the next", work(a))
	}
}

// done tells of what has worked.
func (n *narrator) done(job string, a worker.Attempt) {
	took := shortly(a.Took)
	switch {
	case a.Kind == tasks.KindRejectionKeep: // its refusal was told
	case a.Kind == tasks.KindEventRecord && a.JobError != "":
		n.say(job, stepRecorded, "%s in %s: %s", a.EventType, took, a.JobError)
	case a.Kind == tasks.KindEventRecord && strings.HasPrefix(a.EventID, tasks.SourceLookup+":"):
		n.say(job, stepRecorded, "%s in %s, as Kling said when it was asked", a.EventType, took)
	case a.Kind == tasks.KindEventRecord:
		n.say(job, stepRecorded, "%s in %s", a.EventType, took)
	case a.Kind == tasks.KindMediaDownload && a.Location != "":
		n.say(job, stepStored, "%s, %s in %s: %s", a.Media, bytesText(a.Size), took, nearPath(a.Location))
	case a.Kind == tasks.KindNotifySend:
		n.say(job, stepNotified, "%s of %s in %s", a.Destination, a.Message, took)
	default:
		n.say(job, stepDone, "%s in %s", work(a), took)
	}
}

// work says in words what an attempt is at.
func work(a worker.Attempt) string {
	switch a.Kind {
	case tasks.KindEventRecord:
		return "recording " + a.EventType
	case tasks.KindMediaDownload:
		return "downloading " + a.Media
	case tasks.KindNotifySend:
		return "telling " + cmp.Or(a.Destination, "somebody") + " of " + cmp.Or(a.Message, "something")
	}
	return string(a.Kind)
}

// reasonOf is the first line of an error, for behind it stands a panic's stack, without
// what the rest of the line says.
func reasonOf(a worker.Attempt) string {
	if a.Err == nil {
		return "no reason was given"
	}
	first, _, _ := strings.Cut(a.Err.Error(), "\n")
	return strings.TrimPrefix(first, "download "+a.Media+" of "+a.JobID+": ")
}

// shortly is how long something took, to two or three digits.
func shortly(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

// bytesText is sizeText that knows zero.
func bytesText(n int64) string { return cmp.Or(sizeText(n), "0 B") }

// nearPath is a path as it is written from here, if it is below.
func nearPath(location string) string {
	here, err := os.Getwd()
	if err != nil || !filepath.IsAbs(location) {
		return location
	}
	if near, err := filepath.Rel(here, location); err == nil && filepath.IsLocal(near) {
		return near
	}
	return location
}
