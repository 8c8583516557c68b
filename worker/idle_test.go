package worker_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// commands returns how many commands Redis has been sent, scripts counted as one.
func (f *fixture) commands(t *testing.T) int {
	t.Helper()
	info, err := f.redis.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	// What scripts call is counted too; none of these is called otherwise.
	inner := []string{"exists", "rpoplpush", "zrangebyscore", "setex", "del", "expire", "zcard"}
	total := 0
	for line := range strings.Lines(info) {
		name, stats, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":calls=")
		calls, _, _ := strings.Cut(stats, ",")
		if n, err := strconv.Atoi(calls); err == nil && !slices.Contains(inner, name) {
			total += n
		}
	}
	return total
}

// TestIdleWorkerIsPromptAndQuiet holds how soon an idle worker with the usual settings
// begins a task, and how much it asks Redis for meanwhile.
func TestIdleWorkerIsPromptAndQuiet(t *testing.T) {
	f := newFixture(t, testenv.Redis(t).Addr(), time.Second)
	f.cfg.Concurrency = map[string]int{"events": 16, "media": 4, "notify": 8, "rejections": 1}
	f.renew(t)
	if err := f.worker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.worker.Shutdown()

	var waits []time.Duration
	for i := range 21 {
		// What was idle for a while is what is measured.
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		job := fmt.Sprintf("vid_%d", i)
		f.deliverSeed(t, tasks.TypeCreated, job, "")
		f.eventually(t, "the job", func() bool {
			_, err := f.store.Job(t.Context(), job)
			return err == nil
		})
		waits = append(waits, time.Since(start))
	}
	slices.Sort(waits)
	// The machine may be busy; asking every 75 ms would give 40 ms at the best.
	if median := waits[len(waits)/2]; median > 50*time.Millisecond {
		t.Errorf("half of the events took longer than %v to have effect", median)
	}

	const span = 8 * time.Second
	before := f.commands(t)
	time.Sleep(span)
	perSecond := float64(f.commands(t)-before) / span.Seconds()
	t.Logf("median %v; idle: %.1f commands a second", waits[len(waits)/2], perSecond)
	if perSecond > 25 {
		t.Errorf("an idle worker sends %.1f commands a second, want 25 at most", perSecond)
	}
}
