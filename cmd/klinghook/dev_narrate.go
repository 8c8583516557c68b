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

// openLog returns the log. On a terminal, unless the settings ask for a log, dev narrates
// and logs only warnings.
func (d *dev) openLog(screen *console) (*zap.Logger, error) {
	cfg := cli.LogConfig(d.cfg)
	cfg.Through = screen.Err()
	if screen.Interactive() && cfg.Format == "auto" && cfg.Level == "info" {
		cfg.Level = "warn"
		d.narrator = newNarrator(screen, screen.Out(), commandName()+" deadletters list"+d.dataFlag())
	}
	return process.NewLogger(cfg)
}

// refusalsPerSecond bounds the lines about refused deliveries, so that strangers cannot
// flood the terminal.
const refusalsPerSecond = 5

// narrator prints one line for each step of a delivery. It is safe for concurrent use.
type narrator struct {
	screen *console
	out    io.Writer
	now    func() time.Time
	// deadLetters is the command that shows dead letters.
	deadLetters string
	refusals    *rate.Limiter

	mu         sync.Mutex              // guards the fields below
	bars       map[string]*progressBar // of running downloads, by job and file
	suppressed int                     // refusals since the last printed one
}

func newNarrator(screen *console, out io.Writer, deadLetters string) *narrator {
	return &narrator{
		screen: screen, out: out, now: time.Now, deadLetters: deadLetters,
		refusals: rate.NewLimiter(refusalsPerSecond, refusalsPerSecond), bars: map[string]*progressBar{},
	}
}

// worker returns the observer for a worker; nil without a narrator.
func (n *narrator) worker() worker.Observer {
	if n == nil {
		return nil
	}
	return n
}

// ingest returns the observer for ingest; nil without a narrator.
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
func (n *narrator) delivered(delivery ingest.Delivery) {
	switch {
	case delivery.Status >= 300:
		n.refused(delivery)
	case delivery.Unreadable != nil && !delivery.Duplicate:
		n.say(delivery.Source, "received", "an event that this version cannot read: %s", delivery.Unreadable)
	case delivery.Duplicate:
		n.say(cmp.Or(delivery.Job.String(), delivery.Source), "repeated", "%s, which was received before", delivery.Type)
	default:
		n.say(cmp.Or(delivery.Job.String(), delivery.Source), "received", "%s, answered in %s", delivery.Type, formatDuration(delivery.Took))
	}
}

func (n *narrator) refused(delivery ingest.Delivery) {
	n.mu.Lock()
	suppressed := n.suppressed
	n.suppressed++
	allowed := n.refusals.AllowN(n.now(), 1)
	if allowed {
		n.suppressed = 0
	}
	n.mu.Unlock()
	if !allowed {
		return
	}
	reason, more := delivery.Outcome, ""
	if delivery.Reason != nil {
		reason = delivery.Reason.Error()
	}
	if suppressed > 0 {
		more = fmt.Sprintf(" (and %d more before)", suppressed)
	}
	n.say(delivery.Source, "refused", "a delivery with %d: %s%s", delivery.Status, reason, more)
}

// Downloading implements [worker.Observer].
func (n *narrator) Downloading(job tasks.JobKey, name, host string) (progress func(received, total int64)) {
	n.say(job.String(), "downloading", "%s from %s", name, host)
	n.mu.Lock()
	defer n.mu.Unlock()
	key := job.String() + "/" + name
	if n.bars[key] == nil {
		n.bars[key] = n.screen.Bar(oneLine(cut(job.String(), 40)+"  "+name), bytesText)
	}
	return n.bars[key].Set
}

// endBar removes the bar of a download.
func (n *narrator) endBar(job tasks.JobKey, name string) {
	n.mu.Lock()
	key := job.String() + "/" + name
	bar := n.bars[key]
	delete(n.bars, key)
	n.mu.Unlock()
	if bar != nil {
		bar.End()
	}
}

// Attempted implements [worker.Observer].
func (n *narrator) Attempted(attempt worker.Attempt) {
	if attempt.Kind == tasks.KindMediaDownload {
		n.endBar(attempt.Job, attempt.Media)
	}
	job := cmp.Or(attempt.Job.String(), "-")
	switch attempt.Outcome {
	case worker.Done:
		n.done(job, attempt)
	case worker.Retried:
		n.say(job, "failed", "%s, attempt %d of %d: %s; next attempt in %s", work(attempt), attempt.Number, attempt.Last, reasonOf(attempt), formatDuration(attempt.RetryIn))
	case worker.GivenUp:
		n.say(job, "given up", "%s, attempt %d: %s; `%s` shows it for replay", work(attempt), attempt.Number, reasonOf(attempt), n.deadLetters)
	case worker.Interrupted:
		n.say(job, "put back", "%s: this process is stopping; the next one continues", work(attempt))
	}
}

// done prints a success.
func (n *narrator) done(job string, attempt worker.Attempt) {
	took := formatDuration(attempt.Took)
	switch {
	case attempt.Kind == tasks.KindRejectionKeep: // the refusal was printed
	case attempt.Kind == tasks.KindEventRecord && attempt.JobError != "":
		n.say(job, "recorded", "%s in %s: %s", attempt.EventType, took, attempt.JobError)
	case attempt.Kind == tasks.KindEventRecord && attempt.EventType == tasks.TypeTest:
		n.say(job, "recorded", "%s: Kling does not know this job", testCallback)
	case attempt.Kind == tasks.KindEventRecord && attempt.TestCallback:
		n.say(job, "recorded", "%s%s, in %s", attempt.EventType, maybeTest, took)
	case attempt.Kind == tasks.KindEventRecord && strings.HasPrefix(attempt.EventID, tasks.SourceLookup+":"):
		n.say(job, "recorded", "%s in %s, from a look-up", attempt.EventType, took)
	case attempt.Kind == tasks.KindEventRecord:
		n.say(job, "recorded", "%s in %s", attempt.EventType, took)
	case attempt.Kind == tasks.KindMediaDownload && attempt.Location != "":
		n.say(job, "stored", "%s, %s in %s: %s", attempt.Media, bytesText(attempt.Size), took, relativePath(attempt.Location))
	case attempt.Kind == tasks.KindNotifySend:
		n.say(job, "notified", "%s of %s in %s", attempt.Destination, attempt.Message, took)
	default:
		n.say(job, "done", "%s in %s", work(attempt), took)
	}
}

// work describes what an attempt does.
func work(attempt worker.Attempt) string {
	switch attempt.Kind {
	case tasks.KindEventRecord:
		return "recording " + attempt.EventType
	case tasks.KindMediaDownload:
		return "downloading " + attempt.Media
	case tasks.KindMediaFind:
		return "finding media"
	case tasks.KindNotifySend:
		return "notifying " + cmp.Or(attempt.Destination, "somebody") + " of " + cmp.Or(attempt.Message, "something")
	}
	return string(attempt.Kind)
}

// reasonOf returns the first line of the error, without a panic's stack and without the
// prefix that repeats the printed line.
func reasonOf(attempt worker.Attempt) string {
	if attempt.Err == nil {
		return "unknown reason"
	}
	first, _, _ := strings.Cut(attempt.Err.Error(), "\n")
	return strings.TrimPrefix(first, "download "+attempt.Media+" of "+attempt.Job.String()+": ")
}

// formatDuration formats a duration with two or three digits.
func formatDuration(d time.Duration) string {
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
