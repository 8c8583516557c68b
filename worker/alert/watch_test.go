package alert

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// world is a Redis, a clock and an inbox.
type world struct {
	t      *testing.T
	server *miniredis.Miniredis
	rdb    *redis.Client
	now    time.Time

	mu   sync.Mutex // guards the fields below
	sent []string
	down map[string]bool // destinations that fail
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: miniredis.RunT(t), now: time.Unix(1781080800, 0), down: map[string]bool{}}
	w.rdb = redis.NewClient(&redis.Options{Addr: w.server.Addr()})
	t.Cleanup(func() { _ = w.rdb.Close() })
	return w
}

// process returns a process that watches.
func (w *world) process(destinations ...string) *Watcher {
	return New(Config{
		Redis: w.rdb, EventShards: 1, Destinations: destinations, Log: zap.NewNop(), Now: func() time.Time { return w.now },
		Send: func(_ context.Context, destination, title, text string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.down[destination] {
				return errors.New("no answer")
			}
			w.sent = append(w.sent, destination+": "+title+": "+text)
			return nil
		},
	})
}

// watch lets a process watch once, and compares the messages about anything but workers.
// Each want is a part of a message.
func (w *world) watch(process *Watcher, about string, want ...string) {
	w.t.Helper()
	testenv.NoError(w.t, process.Watch(w.t.Context()))
	slices.Sort(w.sent)
	var got []string
	for _, text := range w.sent {
		if strings.Contains(text, " worker") == (about == "workers") {
			got = append(got, text)
		}
	}
	w.sent = nil
	equal := slices.EqualFunc(got, want, strings.Contains)
	if !equal {
		w.t.Errorf("sent %q, want %q", got, want)
	}
}

func (w *world) pass(length time.Duration) { w.now = w.now.Add(length) }

func (w *world) report(report tasks.WorkReport) {
	w.t.Helper()
	testenv.NoError(w.t, tasks.ReportWork(w.t.Context(), w.rdb, report))
}

func (w *world) reportIngest(report tasks.IngestReport) {
	w.t.Helper()
	report.Host = "host-1"
	testenv.NoError(w.t, tasks.ReportIngest(w.t.Context(), w.rdb, "name", report))
}

func TestAlertIsSentOnceAndAtItsEndAndAtMostOnceAnHour(t *testing.T) {
	w := newWorld(t)
	p := w.process("slack")
	w.watch(p, "", []string{}...)
	w.report(tasks.WorkReport{DeadLetters: 1, NewestDeadLetter: 7})
	w.watch(p, "", "slack: klinghook: Dead letters: 1 open")
	w.watch(w.process("slack"), "") // another process has the lease
	w.pass(10 * time.Second)
	w.watch(p, "")
	// More within the hour is reported after it.
	w.report(tasks.WorkReport{DeadLetters: 3, NewestDeadLetter: 9})
	w.pass(10 * time.Minute)
	w.watch(p, "")
	w.pass(50 * time.Minute)
	w.watch(p, "", "Dead letters: 3 open")
	w.pass(2 * time.Hour)
	w.watch(p, "")
	w.report(tasks.WorkReport{})
	w.watch(p, "", "klinghook: over: No dead letter is open any more.")
	w.watch(p, "")
	// Without a report, no problem is over.
	w.report(tasks.WorkReport{Expiring: 2})
	w.watch(p, "", "Links are about to expire: 2 files")
	w.server.FastForward(workReportIsGone)
	w.pass(time.Hour)
	w.watch(p, "")
}

const workReportIsGone = time.Hour

func TestRestartedProcessRepeatsNothing(t *testing.T) {
	w := newWorld(t)
	work := tasks.WorkReport{Paused: []string{"shop"}}
	w.report(work)
	w.watch(w.process("slack"), "", "A destination is paused: shop failed for a day")
	w.server.FastForward(leaseTime)
	w.report(work)
	w.pass(24 * time.Hour)
	w.watch(w.process("slack"), "")
}

func TestFailedAlertIsSentLaterToThatDestinationOnly(t *testing.T) {
	w := newWorld(t)
	p := w.process("slack", "mail")
	w.down["mail"] = true
	w.report(tasks.WorkReport{Expiring: 1})
	w.watch(p, "", "slack: klinghook: Links")
	w.down["mail"] = false
	w.pass(watchEvery)
	w.watch(p, "")
	w.pass(retryFirst)
	w.watch(p, "", "mail: klinghook: Links")
	w.report(tasks.WorkReport{})
	w.watch(p, "", "mail: klinghook: over", "slack: klinghook: over")
	// A problem that ends before its message was sent is not reported.
	w.pass(time.Hour)
	w.down["mail"] = true
	w.report(tasks.WorkReport{Expiring: 1})
	w.watch(p, "", "slack: klinghook: Links")
	w.down["mail"] = false
	w.report(tasks.WorkReport{})
	w.watch(p, "", "slack: klinghook: over")
	w.pass(time.Hour)
	w.watch(p, "")
}

func TestIngestCauses(t *testing.T) {
	refusal := func(count int, lasted time.Duration) tasks.IngestReport {
		return tasks.IngestReport{Refused: []tasks.Refusal{{Source: "klingai", Reason: "queue_unreachable", Count: count, Lasted: lasted}}}
	}
	w := newWorld(t)
	p := w.process("slack")
	w.reportIngest(tasks.IngestReport{SpoolPercent: spoolHigh - 1})
	w.watch(p, "")
	w.reportIngest(tasks.IngestReport{SpoolPercent: 80})
	w.watch(p, "", "A spool is filling up: The spool of host-1 is 80 % full.")
	w.reportIngest(refusal(100, time.Second))
	w.watch(p, "", "over: No spool is filling")
	w.reportIngest(refusal(3, 2*time.Minute))
	w.watch(p, "", "Deliveries are refused: host-1 refused 3 deliveries to klingai in 2m0s (queue_unreachable).")
	w.server.FastForward(leaseTime) // the process has ended, with its report
	w.watch(p, "", "over: Deliveries are accepted again.")
}

func TestNoWorkerIsRunning(t *testing.T) {
	w := newWorld(t)
	p := w.process("slack")
	w.watch(p, "workers")
	w.pass(restartTime - time.Second)
	w.watch(p, "workers")
	w.pass(time.Second)
	w.watch(p, "workers", "No worker is running: Events wait in Redis.")
	w.server.SetError("away")
	if err := p.Watch(t.Context()); err == nil {
		t.Error("no error while Redis is away")
	}
	w.server.SetError("")
	w.pass(time.Minute)
	w.watch(p, "workers")
}
