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

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

// openLog returns the log. At a terminal, unless the log was asked for, dev narrates
// instead, and only warnings go to the log.
func (d *dev) openLog(screen *console) (*zap.Logger, error) {
	cfg := cli.LogConfig(d.cfg)
	cfg.Through = screen.Err()
	if screen.Watched() && cfg.Format == "auto" && cfg.Level == "info" {
		cfg.Level = "warn"
		d.narrator = newNarrator(screen, screen.Out(), commandName()+" deadletters list"+d.dataFlag())
	}
	return process.NewLogger(cfg)
}

// refusalsPerSecond bounds the lines about refused deliveries, so that strangers cannot
// flood the terminal.
const refusalsPerSecond = 5

// narrator prints one line for each thing that happens to a delivery. It is safe for
// concurrent use.
type narrator struct {
	screen *console
	out    io.Writer
	now    func() time.Time
	// deadLetters is the command that shows dead letters.
	deadLetters string
	refusals    *rate.Limiter

	mu sync.Mutex // guards what follows
	// bars are those of the running downloads, by job and file.
	bars map[string]*progressBar
	// unsaid counts the refusals since the last one that was printed.
	unsaid int
}

func newNarrator(screen *console, out io.Writer, deadLetters string) *narrator {
	return &narrator{
		screen: screen, out: out, now: time.Now, deadLetters: deadLetters,
		refusals: rate.NewLimiter(refusalsPerSecond, refusalsPerSecond), bars: map[string]*progressBar{},
	}
}

// worker is the narrator for a worker; nil if there is none.
func (n *narrator) worker() worker.Observer {
	if n == nil {
		return nil
	}
	return n
}

// ingest is the narrator for ingest; nil if there is none.
func (n *narrator) ingest() func(ingest.Delivery) {
	if n == nil {
		return nil
	}
	return n.delivered
}

const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	dim    = "\x1b[2m"
	plain  = "\x1b[0m"
)

// stepColours are the colours of a line's first word; others have none.
var stepColours = map[string]string{
	"stored": green, "notified": green, "refused": yellow, "failed": yellow, "put back": yellow, "given up": red,
}

// say prints a line. about is usually the job.
func (n *narrator) say(about, step, format string, args ...any) {
	at, word := n.now().Format("15:04:05"), fmt.Sprintf("%-11s", step)
	if n.screen.Coloured() {
		at = dim + at + plain
		if colour := stepColours[step]; colour != "" {
			word = colour + word + plain
		}
	}
	fmt.Fprintf(n.out, "%s  %-18s  %s  %s\n", at, oneLine(cut(about, 40)), word, oneLine(fmt.Sprintf(format, args...)))
}

// delivered prints a delivery.
func (n *narrator) delivered(d ingest.Delivery) {
	switch {
	case d.Status >= 300:
		n.refused(d)
	case d.Duplicate:
		n.say(cmp.Or(d.JobID, d.Source), "repeated", "%s, which was received before", d.Type)
	default:
		n.say(cmp.Or(d.JobID, d.Source), "received", "%s, answered in %s", d.Type, shortly(d.Took))
	}
}

func (n *narrator) refused(d ingest.Delivery) {
	n.mu.Lock()
	unsaid := n.unsaid
	n.unsaid++
	allowed := n.refusals.AllowN(n.now(), 1)
	if allowed {
		n.unsaid = 0
	}
	n.mu.Unlock()
	if !allowed {
		return
	}
	reason, more := d.Outcome, ""
	if d.Reason != nil {
		reason = d.Reason.Error()
	}
	if unsaid > 0 {
		more = fmt.Sprintf(" (and %d more before)", unsaid)
	}
	n.say(d.Source, "refused", "a delivery with %d: %s%s", d.Status, reason, more)
}

// Downloading implements [worker.Observer].
func (n *narrator) Downloading(jobID, name, host string) (progress func(received, total int64)) {
	n.say(jobID, "downloading", "%s from %s", name, host)
	n.mu.Lock()
	defer n.mu.Unlock()
	key := jobID + "/" + name
	if n.bars[key] == nil {
		n.bars[key] = n.screen.Bar(oneLine(cut(jobID, 40)+"  "+name), bytesText)
	}
	return n.bars[key].Set
}

// endBar removes the bar of a download.
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
		n.say(job, "failed", "%s, attempt %d of %d: %s; tries again in %s", work(a), a.Number, a.Last, reasonOf(a), shortly(a.RetryIn))
	case worker.GivenUp:
		n.say(job, "given up", "%s, attempt %d: %s; `%s` shows it for replay", work(a), a.Number, reasonOf(a), n.deadLetters)
	case worker.Interrupted:
		n.say(job, "put back", "%s: this process is stopping; the next one continues", work(a))
	}
}

// done prints a success.
func (n *narrator) done(job string, a worker.Attempt) {
	took := shortly(a.Took)
	switch {
	case a.Kind == tasks.KindRejectionKeep: // the refusal was printed
	case a.Kind == tasks.KindEventRecord && a.JobError != "":
		n.say(job, "recorded", "%s in %s: %s", a.EventType, took, a.JobError)
	case a.Kind == tasks.KindEventRecord && strings.HasPrefix(a.EventID, tasks.SourceLookup+":"):
		n.say(job, "recorded", "%s in %s, from a look-up", a.EventType, took)
	case a.Kind == tasks.KindEventRecord:
		n.say(job, "recorded", "%s in %s", a.EventType, took)
	case a.Kind == tasks.KindMediaDownload && a.Location != "":
		n.say(job, "stored", "%s, %s in %s: %s", a.Media, bytesText(a.Size), took, relativePath(a.Location))
	case a.Kind == tasks.KindNotifySend:
		n.say(job, "notified", "%s of %s in %s", a.Destination, a.Message, took)
	default:
		n.say(job, "done", "%s in %s", work(a), took)
	}
}

// work describes what an attempt does.
func work(a worker.Attempt) string {
	switch a.Kind {
	case tasks.KindEventRecord:
		return "recording " + a.EventType
	case tasks.KindMediaDownload:
		return "downloading " + a.Media
	case tasks.KindNotifySend:
		return "notifying " + cmp.Or(a.Destination, "somebody") + " of " + cmp.Or(a.Message, "something")
	}
	return string(a.Kind)
}

// reasonOf is the first line of the error, without the stack of a panic and without what
// the line says already.
func reasonOf(a worker.Attempt) string {
	if a.Err == nil {
		return "unknown reason"
	}
	first, _, _ := strings.Cut(a.Err.Error(), "\n")
	return strings.TrimPrefix(first, "download "+a.Media+" of "+a.JobID+": ")
}

// shortly is a duration with two or three digits.
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

// bytesText is sizeText with a text for zero.
func bytesText(n int64) string { return cmp.Or(sizeText(n), "0 B") }

// relativePath shortens a path below the working directory.
func relativePath(location string) string {
	here, err := os.Getwd()
	if err != nil || !filepath.IsAbs(location) {
		return location
	}
	if path, err := filepath.Rel(here, location); err == nil && filepath.IsLocal(path) {
		return path
	}
	return location
}
