package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

var errDown = errors.New("connection refused")

func event(id string) tasks.Task {
	return tasks.Task{Kind: tasks.KindEventRecord, ID: id, Payload: []byte(`{"id":"` + id + `"}`)}
}

func events(prefix string, n int) (list []tasks.Task) {
	for i := range n {
		list = append(list, event(fmt.Sprintf("%s%04d", prefix, i)))
	}
	return list
}

// fakeRedis takes tasks, fails or hangs.
type fakeRedis struct {
	mu        sync.Mutex
	err       error
	hangs     bool
	unhealthy error
	calls     int
	got       []string
}

func (r *fakeRedis) set(err error, hangs bool, unhealthy error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.hangs, r.unhealthy = err, hangs, unhealthy
}

func (r *fakeRedis) Enqueue(ctx context.Context, t tasks.Task) (bool, error) {
	r.mu.Lock()
	r.calls++
	err, hangs := r.err, r.hangs
	if err == nil && !hangs {
		r.got = append(r.got, t.ID)
	}
	r.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return false, err
}

func (r *fakeRedis) healthy(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unhealthy
}

func (r *fakeRedis) have() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.got...)
}

// fixture is a Queue with a fakeRedis.
type fixture struct {
	*Queue
	redis *fakeRedis
	logs  *observer.ObservedLogs
	reg   *prometheus.Registry
}

// start returns a started Queue, without a spool if dir is empty.
func start(t *testing.T, dir string) *fixture {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	f := &fixture{redis: &fakeRedis{}, logs: logs, reg: prometheus.NewRegistry()}
	var err error
	f.Queue, err = New(Config{Redis: f.redis, Healthy: f.redis.healthy, Dir: dir, MaxBytes: 1 << 20, Log: zap.New(core), Metrics: f.reg})
	testenv.NoError(t, err)
	f.Start(t.Context())
	t.Cleanup(f.Close)
	return f
}

func (f *fixture) mustEnqueue(t *testing.T, list ...tasks.Task) {
	t.Helper()
	for _, task := range list {
		if _, err := f.Enqueue(t.Context(), task); err != nil {
			t.Fatalf("enqueue %s: %v", task.ID, err)
		}
	}
}

func (f *fixture) wantEvents(t *testing.T, want int) {
	t.Helper()
	if got := f.used().events; got != want {
		t.Errorf("%d events in the spool, want %d", got, want)
	}
}

// waitFor returns once the spool has this many events.
func (q *Queue) waitFor(t *testing.T, events int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); q.used().events != events; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d events in the spool, want %d", q.used().events, events)
		}
	}
}

// pass lets time pass and waits for everything that is due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func ids(list []tasks.Task) (ids []string) {
	for _, t := range list {
		ids = append(ids, t.ID)
	}
	return ids
}

// eachSpool runs a test in a synctest bubble, with a spool and without.
func eachSpool(t *testing.T, test func(t *testing.T, f *fixture, spooled bool)) {
	for _, spooled := range []bool{true, false} {
		t.Run(fmt.Sprintf("spool=%t", spooled), func(t *testing.T) {
			dir := ""
			if spooled {
				dir = t.TempDir()
			}
			synctest.Test(t, func(t *testing.T) { test(t, start(t, dir), spooled) })
		})
	}
}

func TestEventsOfAnOutageAreHandedOverInOrder(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, dir)
		f.mustEnqueue(t, event("before"))
		f.redis.set(errDown, false, nil)
		down := events("down", 200)
		f.mustEnqueue(t, down...)
		pass(25 * time.Second) // more than two buckets
		more := events("more", 50)
		f.mustEnqueue(t, more...)
		pass(time.Second)
		f.wantEvents(t, 250)
		f.redis.set(nil, false, nil)
		pass(2 * time.Second)
		want := append([]string{"before"}, append(ids(down), ids(more)...)...)
		if diff := cmp.Diff(want, f.redis.have()); diff != "" {
			t.Errorf("in Redis (-want +got):\n%s", diff)
		}
		f.wantEvents(t, 0)
		for _, message := range []string{"circuit breaker opened", "circuit breaker closed: Redis is used"} {
			if n := f.logs.FilterMessage(message).Len(); n != 1 {
				t.Errorf("%q was logged %d times", message, n)
			}
		}
	})
}

func TestHungRedisDelaysThreeDeliveries(t *testing.T) {
	eachSpool(t, func(t *testing.T, f *fixture, spooled bool) {
		f.redis.set(nil, true, nil)
		for i := range 20 {
			began := time.Now()
			_, err := f.Enqueue(t.Context(), event(fmt.Sprint(i)))
			if (err == nil) != spooled {
				t.Fatalf("event %d: %v", i, err)
			}
			if took := time.Since(began); took > 250*time.Millisecond || i >= maxFailures && took > 0 {
				t.Errorf("event %d waited for %v", i, took)
			}
		}
	})
}

// A full queue of samples does not mean that Redis is down.
func TestSamplesAreNotSpooled(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, dir)
		sample := tasks.Task{Kind: tasks.KindRejectionKeep, ID: "sample"}
		f.redis.set(tasks.ErrQueueFull, false, nil)
		for range 2 * maxFailures {
			if _, err := f.Enqueue(t.Context(), sample); !errors.Is(err, tasks.ErrQueueFull) {
				t.Errorf("error %v, want %v", err, tasks.ErrQueueFull)
			}
		}
		f.redis.set(nil, false, nil)
		f.mustEnqueue(t, event("e"))
		f.redis.set(nil, false, errDown)
		pass(time.Second)
		if _, err := f.Enqueue(t.Context(), sample); !errors.Is(err, errDown) {
			t.Errorf("error %v, want %v", err, errDown)
		}
		if diff := cmp.Diff([]string{"e"}, f.redis.have()); diff != "" {
			t.Errorf("in Redis (-want +got):\n%s", diff)
		}
		f.wantEvents(t, 0)
	})
}

// However long Redis hangs, only the check tests whether it is back.
func TestDeliveriesDoNotProbeRedis(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, dir)
		f.redis.set(nil, true, nil)
		for range maxFailures {
			f.mustEnqueue(t, event("first"))
		}
		for i := range 100 {
			pass(137 * time.Millisecond)
			began := time.Now()
			f.mustEnqueue(t, event(fmt.Sprint(i)))
			if took := time.Since(began); took > 0 {
				t.Fatalf("event %d waited for %v", i, took)
			}
		}
	})
}

// A Redis that answers but refuses events is not used.
func TestBreakerClosesOnceTheOldestEventIsEnqueued(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, dir)
		f.redis.set(errors.New("NOPERM"), false, nil)
		f.mustEnqueue(t, events("e", 10)...)
		pass(time.Minute)
		if n := f.logs.FilterMessageSnippet("circuit breaker closed").Len(); n != 0 {
			t.Errorf("the breaker closed %d times", n)
		}
		f.redis.set(nil, false, nil)
		pass(2 * time.Second)
		if diff := cmp.Diff(ids(events("e", 10)), f.redis.have()); diff != "" {
			t.Errorf("in Redis (-want +got):\n%s", diff)
		}
	})
}

func TestUnhealthyRedisIsNotUsed(t *testing.T) {
	eachSpool(t, func(t *testing.T, f *fixture, spooled bool) {
		f.redis.set(nil, false, errors.New("memory is full"))
		pass(time.Second)
		synctest.Wait()
		if err := f.Check(t.Context()); (err == nil) != spooled {
			t.Errorf("check: %v", err)
		}
		_, err := f.Enqueue(t.Context(), event("e"))
		if (err == nil) != spooled {
			t.Errorf("enqueue: %v", err)
		}
		pass(time.Minute)
		if f.redis.calls != 0 {
			t.Errorf("%d enqueues in Redis", f.redis.calls)
		}
		// No delivery is needed to close the breaker.
		f.redis.set(nil, false, nil)
		pass(1100 * time.Millisecond)
		if err := f.Check(t.Context()); err != nil {
			t.Errorf("check: %v", err)
		}
		f.wantEvents(t, 0)
	})
}

func TestFullSpoolRefusesByDiskBlocks(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, dir)
		f.redis.set(errDown, false, errDown)
		pass(time.Second)
		f.mustEnqueue(t, events("e", 1<<20/blockSize)...)
		_, err := f.Enqueue(t.Context(), event("one more"))
		if !errors.Is(err, ErrFull) || !errors.Is(err, errDown) {
			t.Errorf("error %v, want %v and %v", err, ErrFull, errDown)
		}
		if err := f.Check(t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("check: %v, want %v", err, ErrFull)
		}
		want := `
			# HELP klinghook_breaker_open 1 while Redis is not used because it fails or is nearly full, else 0.
			# TYPE klinghook_breaker_open gauge
			klinghook_breaker_open 1
			# HELP klinghook_spool_put_total Events that went to the spool, by outcome.
			# TYPE klinghook_spool_put_total counter
			klinghook_spool_put_total{outcome="error"} 0
			klinghook_spool_put_total{outcome="full"} 1
			klinghook_spool_put_total{outcome="stored"} 256
			# HELP klinghook_spool_bytes Disk space that the spool's events occupy.
			# TYPE klinghook_spool_bytes gauge
			klinghook_spool_bytes 1.048576e+06
			# HELP klinghook_spool_events Events in the spool.
			# TYPE klinghook_spool_events gauge
			klinghook_spool_events 256
		`
		if err := testutil.GatherAndCompare(f.reg, strings.NewReader(want),
			"klinghook_breaker_open", "klinghook_spool_put_total", "klinghook_spool_bytes", "klinghook_spool_events"); err != nil {
			t.Error(err)
		}
		pass(time.Minute)
		detail := map[string]any{"spool": map[string]any{"events": 256, "bytes": int64(1 << 20), "oldest_age_seconds": 60.0}}
		if diff := cmp.Diff(detail, f.Detail()); diff != "" {
			t.Errorf("detail (-want +got):\n%s", diff)
		}
		f.redis.set(nil, false, nil)
		pass(2 * time.Second)
		f.wantEvents(t, 0)
	})
}

func TestDamagedFileMovesToBadAndDelaysNothing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, dir)
		f.redis.set(errDown, false, errDown)
		pass(time.Second)
		f.mustEnqueue(t, event("rots"), tasks.Task{Kind: "event:dance", ID: "of a later release"}, event("good"))
		first := true
		err := f.dir.files(func(path string) bool {
			if err := os.WriteFile(path, []byte("rot"), 0o600); err != nil {
				t.Error(err)
			}
			first = false
			return first
		})
		testenv.NoError(t, err)
		f.redis.set(nil, false, nil)
		pass(3 * time.Second)
		if diff := cmp.Diff([]string{"good"}, f.redis.have()); diff != "" {
			t.Errorf("in Redis (-want +got):\n%s", diff)
		}
		if bad, err := os.ReadDir(filepath.Join(dir, "bad")); err != nil || len(bad) != 2 {
			t.Errorf("%d files in bad/, %v; want 2", len(bad), err)
		}
		f.wantEvents(t, 0)
		if n := f.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 2 {
			t.Errorf("%d errors were logged, want 2: %v", n, f.logs.All())
		}
	})
}

func TestProcessesShareADirectory(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a, b := start(t, dir), start(t, dir)
		for _, f := range []*fixture{a, b} {
			f.redis.set(errDown, false, errDown)
		}
		pass(time.Second)
		var want []string
		for i := range 60 {
			mine, others := event(fmt.Sprint("a", i)), event(fmt.Sprint("b", i))
			a.mustEnqueue(t, mine)
			pass(500 * time.Millisecond)
			b.mustEnqueue(t, others)
			pass(500 * time.Millisecond)
			want = append(want, mine.ID, others.ID)
		}
		pass(2 * time.Second)
		a.wantEvents(t, 120)
		b.wantEvents(t, 120)
		a.redis.set(nil, false, nil)
		pass(2 * time.Second)
		if diff := cmp.Diff(want, a.redis.have()); diff != "" {
			t.Errorf("one process did not hand over all (-want +got):\n%s", diff)
		}
		pass(2 * time.Second)
		a.wantEvents(t, 0)
		b.wantEvents(t, 0)
	})
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, dir)
		f.redis.set(errDown, false, errDown)
		pass(time.Second)
		f.mustEnqueue(t, event("e"))
		cut := filepath.Join(dir, "tmp", fmt.Sprintf("%019d-CUT-10", time.Now().UnixNano()))
		testenv.NoError(t, os.WriteFile(cut, nil, 0o600))
		f.redis.set(nil, false, nil)
		pass(leftOver - time.Minute)
		if _, err := os.Stat(cut); err != nil {
			t.Errorf("removed too early: %v", err)
		}
		pass(2 * time.Minute)
		for _, name := range []string{"tmp", "new"} {
			if left, err := os.ReadDir(filepath.Join(dir, name)); err != nil || len(left) > 0 {
				t.Errorf("%d entries are left in %s, %v", len(left), name, err)
			}
		}
	})
}

func TestCloseIsPrompt(t *testing.T) {
	for name, redis := range map[string]struct {
		err   error
		hangs bool
	}{"works": {}, "down": {err: errDown}, "hangs": {hangs: true}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				f := start(t, dir)
				f.redis.set(errDown, false, errDown)
				pass(time.Second)
				f.mustEnqueue(t, events("e", 20)...)
				f.redis.set(redis.err, redis.hangs, nil)
				pass(1030 * time.Millisecond)
				began := time.Now()
				f.Close()
				if took := time.Since(began); took > 0 {
					t.Errorf("it took %v", took)
				}
				if got, left := len(f.redis.have()), start(t, dir).used().events; got+left != 20 {
					t.Errorf("%d in Redis and %d in the spool, of 20", got, left)
				}
			})
		})
	}
}

// FuzzDecode checks that no file crashes the program and that a change is noticed.
func FuzzDecode(f *testing.F) {
	f.Add(encode(tasks.Task{Kind: tasks.KindEventRecord, ID: "a\n b", Trace: "00-1", Payload: []byte("\n\x00\xff \n")}), 12)
	f.Add([]byte("00000000 {}\n"), 0)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, content []byte, at int) {
		task, err := decode(content)
		if err != nil {
			return
		}
		again, err := decode(encode(task))
		if diff := cmp.Diff(task, again, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("came out changed, %v (-want +got):\n%s", err, diff)
		}
		changed := append([]byte(nil), content...)
		changed[uint(at)%uint(len(changed))] ^= 1
		if _, err := decode(changed); err == nil {
			t.Errorf("a change at %d is not noticed", uint(at)%uint(len(changed)))
		}
	})
}
