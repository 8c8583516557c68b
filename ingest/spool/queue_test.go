package spool

import (
	"context"
	"errors"
	"fmt"
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
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/klinghook/klinghook/tasks"
)

type fakeInner func(ctx context.Context, t tasks.Task) (bool, error)

func (f fakeInner) Enqueue(ctx context.Context, t tasks.Task) (bool, error) { return f(ctx, t) }

// server is a queue that can be broken in several ways.
type server struct {
	mu    sync.Mutex
	err   error
	hangs bool
	calls int
	got   []string
}

func (s *server) set(err error, hangs bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.hangs = err, hangs
}

func (s *server) Enqueue(ctx context.Context, t tasks.Task) (bool, error) {
	s.mu.Lock()
	s.calls++
	err, hangs := s.err, s.hangs
	if err == nil && !hangs {
		s.got = append(s.got, t.ID)
	}
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return false, err
}

// have returns what the server was given, in order.
func (s *server) have() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...)
}

// fixture is a Queue in a synctest bubble. The disk's time does not pass there.
type fixture struct {
	*Queue
	server *server
	spool  *Spool
	logs   *observer.ObservedLogs
	reg    *prometheus.Registry
	stop   func()
}

// newFixture returns a Queue that runs; dir "" means that it has no spool.
func newFixture(t *testing.T, dir string, change func(*QueueConfig)) *fixture {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	f := &fixture{server: &server{}, logs: logs, reg: prometheus.NewRegistry()}
	cfg := QueueConfig{Inner: f.server, Log: zap.New(core), Metrics: f.reg}
	if dir != "" {
		var err error
		if f.spool, err = Open(Config{Dir: dir, MaxBytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		cfg.Spool = f.spool
	}
	if change != nil {
		change(&cfg)
	}
	f.Queue = NewQueue(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	f.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if f.spool != nil {
			mustClose(t, f.spool)
		}
	})
	t.Cleanup(f.stop)
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

func (f *fixture) messages() []string {
	var list []string
	for _, e := range f.logs.All() {
		list = append(list, e.Message)
	}
	return list
}

func taskIDs(list []tasks.Task) []string {
	var ids []string
	for _, t := range list {
		ids = append(ids, t.ID)
	}
	return ids
}

func TestQueueSpoolsAndDrainsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), nil)
		f.mustEnqueue(t, event("before"))
		f.server.set(errDown, false)
		down := events("down", 250)
		f.mustEnqueue(t, down...)
		time.Sleep(10 * time.Second)
		if got := f.have(); len(got) != 1 || f.spool.Stats().Events != 250 {
			t.Fatalf("the queue has %q; stats %+v", got, f.spool.Stats())
		}
		f.server.set(nil, false)
		time.Sleep(2500 * time.Millisecond)
		want := append([]string{"before"}, taskIDs(down)...)
		if diff := cmp.Diff(want, f.have()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if stats := f.spool.Stats(); stats.Events != 0 {
			t.Errorf("stats %+v", stats)
		}
		wantLog := []string{"circuit breaker opened: the queue is left alone", "circuit breaker closed: the queue answers", "spool drained"}
		if diff := cmp.Diff(wantLog, f.messages()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func (f *fixture) have() []string { return f.server.have() }

func TestHungQueueCostsLittleAndThenNothing(t *testing.T) {
	for _, spooled := range []bool{true, false} {
		t.Run(fmt.Sprintf("spool=%t", spooled), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := ""
				if spooled {
					dir = t.TempDir()
				}
				f := newFixture(t, dir, nil)
				f.server.set(nil, true)
				var costs []time.Duration
				for i := range 20 {
					start := time.Now()
					_, err := f.Enqueue(t.Context(), event(fmt.Sprint(i)))
					if (err == nil) != spooled {
						t.Fatalf("event %d: %v", i, err)
					}
					costs = append(costs, time.Since(start))
				}
				for i, cost := range costs {
					if cost > 250*time.Millisecond || i >= 3 && cost > 0 {
						t.Errorf("costs %v: event %d waited for %v", costs, i, cost)
					}
				}
				if costs[0] == 0 {
					t.Error("the queue was not tried")
				}
			})
		})
	}
}

// With a spool, the drain finds out when the queue is back: no delivery waits for
// one that hangs, however long it does.
func TestDeliveriesDoNotProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), nil)
		f.server.set(nil, true)
		for range 10 {
			_, _ = f.Enqueue(t.Context(), event("e"))
		}
		for i := range 100 {
			time.Sleep(137 * time.Millisecond)
			start := time.Now()
			f.mustEnqueue(t, event(fmt.Sprint(i)))
			if cost := time.Since(start); cost > 0 {
				t.Fatalf("event %d waited for %v", i, cost)
			}
		}
	})
}

func TestNewEventsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), func(cfg *QueueConfig) { cfg.DrainRate, cfg.DrainBatch = 10, 5 })
		f.server.set(errDown, false)
		f.mustEnqueue(t, events("old", 40)...)
		f.server.set(nil, false)
		time.Sleep(1050 * time.Millisecond) // between two steps of the drain, which takes 100 ms for each
		f.mustEnqueue(t, event("new"))
		if n := f.spool.Stats().Events; n < 20 {
			t.Fatalf("%d events left: drained too fast", n)
		}
		if got := f.have(); got[len(got)-1] != "new" {
			t.Errorf("the queue has %q", got)
		}
		time.Sleep(10 * time.Second)
		if n := f.spool.Stats().Events; n != 0 {
			t.Errorf("%d events left", n)
		}
	})
}

func TestDrainDeletesOnlyWhatIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		fail := true
		f := newFixture(t, t.TempDir(), func(cfg *QueueConfig) {
			cfg.Breaker.Failures = 1
			cfg.Inner = fakeInner(func(_ context.Context, task tasks.Task) (bool, error) {
				if fail && len(got) == 3 {
					return false, errDown
				}
				got = append(got, task.ID)
				return false, nil
			})
		})
		mustPut(t, f.spool, events("e", 6)...)
		time.Sleep(5 * time.Second)
		if left := ids(mustRead(t, f.spool, 0, 10)); fmt.Sprint(left) != "[e0003 e0004 e0005]" {
			t.Errorf("left are %q after the queue has %q", left, got)
		}
		f.stop()
		if diff := cmp.Diff([]string{"e0000", "e0001", "e0002"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestDrainsWhatAnEarlierProcessLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := mustOpen(t, Config{Dir: dir})
		mustPut(t, s, events("e", 3)...)
		mustClose(t, s)
		f := newFixture(t, dir, nil)
		time.Sleep(time.Second)
		if got := f.have(); fmt.Sprint(got) != "[e0000 e0001 e0002]" {
			t.Errorf("the queue has %q", got)
		}
		if got := f.messages(); fmt.Sprint(got) != "[spool holds events of an earlier process spool drained]" {
			t.Errorf("log %q", got)
		}
	})
}

func TestShutdownStopsPromptly(t *testing.T) {
	tests := []struct {
		name  string
		err   error
		hangs bool
	}{{"queue works", nil, false}, {"queue is down", errDown, false}, {"queue hangs", nil, true}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				f := newFixture(t, dir, func(cfg *QueueConfig) { cfg.DrainRate, cfg.CallTimeout = 50, time.Minute })
				f.server.set(tt.err, tt.hangs)
				mustPut(t, f.spool, events("e", 200)...)
				time.Sleep(1030 * time.Millisecond)
				start := time.Now()
				f.stop()
				if took := time.Since(start); took > 0 {
					t.Errorf("took %v", took)
				}
				// Nothing is in neither, and nothing that was confirmed is kept.
				s := mustOpen(t, Config{Dir: dir})
				if got, left := len(f.have()), s.Stats().Events; got+left != 200 {
					t.Errorf("%d in the queue and %d in the spool, of 200", got, left)
				}
				mustClose(t, s)
			})
		})
	}
}

func TestFullSpoolRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), nil)
		f.server.set(errDown, false)
		big := tasks.Task{Kind: tasks.KindEventRecord, ID: "big", Payload: make([]byte, 300<<10)}
		f.mustEnqueue(t, big, big, big)
		_, err := f.Enqueue(t.Context(), big)
		if !errors.Is(err, ErrFull) || !errors.Is(err, errDown) {
			t.Errorf("error %v, want %v and %v", err, ErrFull, errDown)
		}
		if err := f.Check(t.Context()); err != nil {
			t.Errorf("not ready though there is room for others: %v", err)
		}
		if err := testutil.GatherAndCompare(f.reg, strings.NewReader(`
			# HELP klinghook_spool_put_total Events that went to the spool, by what became of it.
			# TYPE klinghook_spool_put_total counter
			klinghook_spool_put_total{outcome="error"} 0
			klinghook_spool_put_total{outcome="full"} 1
			klinghook_spool_put_total{outcome="stored"} 3
			# HELP klinghook_spool_events Events in the spool.
			# TYPE klinghook_spool_events gauge
			klinghook_spool_events 3
			# HELP klinghook_breaker_open 1 while the queue is left alone because it does not answer, else 0.
			# TYPE klinghook_breaker_open gauge
			klinghook_breaker_open 1
		`), "klinghook_spool_put_total", "klinghook_spool_events", "klinghook_breaker_open"); err != nil {
			t.Error(err)
		}
		small := tasks.Task{Kind: tasks.KindEventRecord, ID: "small", Payload: make([]byte, 8<<10)}
		for err == nil || !errors.Is(err, ErrFull) || f.spool.Stats().Bytes < 1<<20-16<<10 {
			err = f.spool.Put(t.Context(), small)
		}
		if err := f.Check(t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("check: %v, want %v", err, ErrFull)
		}
		f.server.set(nil, false)
		time.Sleep(5 * time.Second)
		if err := f.Check(t.Context()); err != nil {
			t.Errorf("check after the drain: %v", err)
		}
	})
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), nil)
		f.server.set(errDown, false)
		f.mustEnqueue(t, events("e", 5)...)
		time.Sleep(10 * time.Second)
		s := f.Status()
		if !s.Open || !errors.Is(s.Why, errDown) || s.Since.IsZero() || s.Spool.Events != 5 || s.OldestAge < 10*time.Second || s.OldestAge > 11*time.Second {
			t.Errorf("status %+v", s)
		}
	})
}

func TestWithoutSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "", nil)
		f.server.set(errDown, false)
		for i := range 5 {
			if _, err := f.Enqueue(t.Context(), event("e")); !errors.Is(err, errDown) {
				t.Errorf("enqueue number %d: %v", i+1, err)
			}
		}
		if f.server.calls != 3 {
			t.Errorf("%d calls, want 3: the breaker is open", f.server.calls)
		}
		if err := f.Check(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("check: %v", err)
		}
		f.server.set(nil, false)
		time.Sleep(100 * time.Millisecond)
		f.mustEnqueue(t, event("probe"))
		if err := f.Check(t.Context()); err != nil {
			t.Errorf("check: %v", err)
		}
	})
}

// A load balancer that minds readiness sends nothing to probe with.
func TestHealthyClosesWithoutDeliveries(t *testing.T) {
	for _, spooled := range []bool{true, false} {
		t.Run(fmt.Sprintf("spool=%t", spooled), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := ""
				if spooled {
					dir = t.TempDir()
				}
				var mu sync.Mutex
				healthErr := errors.New("memory full")
				f := newFixture(t, dir, func(cfg *QueueConfig) {
					cfg.Healthy = func(context.Context) error { mu.Lock(); defer mu.Unlock(); return healthErr }
				})
				synctest.Wait()
				if err := f.Check(t.Context()); (err == nil) != spooled {
					t.Errorf("check: %v", err)
				}
				_, err := f.Enqueue(t.Context(), event("e"))
				if (err == nil) != spooled || f.server.calls != 0 {
					t.Errorf("%d calls to a queue that is not healthy; error %v", f.server.calls, err)
				}
				time.Sleep(time.Minute)
				if f.server.calls != 0 {
					t.Errorf("%d calls to a queue that is not healthy", f.server.calls)
				}
				mu.Lock()
				healthErr = nil
				mu.Unlock()
				time.Sleep(1200 * time.Millisecond)
				if s := f.Status(); s.Open || s.Spool.Events != 0 {
					t.Errorf("a second after it is healthy: %+v", s)
				}
			})
		})
	}
}

func TestHealthyThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), func(cfg *QueueConfig) {
			cfg.Healthy = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		})
		time.Sleep(1100 * time.Millisecond)
		if s := f.Status(); !s.Open {
			t.Errorf("status %+v", s)
		}
	})
}

func TestUnknownKindIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), nil)
		if _, err := f.Enqueue(t.Context(), tasks.Task{Kind: "event:dance", ID: "e"}); err == nil {
			t.Error("no error")
		}
		if f.server.calls != 0 || f.spool.Stats().Events != 0 {
			t.Errorf("%d calls, stats %+v", f.server.calls, f.spool.Stats())
		}
	})
}

// What cannot be handed over holds up nothing that can.
func TestDrainSetsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), func(cfg *QueueConfig) { cfg.DrainBatch = 1 })
		f.server.set(errDown, false)
		mustPut(t, f.spool, tasks.Task{Kind: "event:dance", ID: "of a later release"}, event("rot"), event("good"))
		time.Sleep(time.Second)
		if _, err := do(t.Context(), f.spool, func() (int, error) {
			return 0, f.spool.db.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte(bucketRecords)).Put(seqKey(2), []byte("rot"))
			})
		}); err != nil {
			t.Fatal(err)
		}
		f.server.set(nil, false)
		time.Sleep(5 * time.Second)
		if got := f.have(); fmt.Sprint(got) != "[good]" {
			t.Errorf("the queue has %q", got)
		}
		if s := f.spool.Stats(); s.Events != 0 || s.Aside != 2 {
			t.Errorf("stats %+v", s)
		}
		if n := f.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 2 {
			t.Errorf("%d errors logged, want 2: %q", n, f.messages())
		}
	})
}

// reopen replaces the spool's file beneath it by one that is opened so.
func reopen(t *testing.T, s *Spool, readOnly bool) {
	t.Helper()
	_, err := do(t.Context(), s, func() (int, error) {
		if err := s.db.Close(); err != nil {
			return 0, err
		}
		db, err := bbolt.Open(filepath.Join(s.dir, fileName), 0o600, &bbolt.Options{ReadOnly: readOnly})
		s.db = db
		return 0, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A disk that lets nothing be deleted keeps no delivery from a queue that works,
// and has nothing enqueued again and again.
func TestDrainOnABrokenDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), func(cfg *QueueConfig) { cfg.DrainBatch, cfg.DrainRate = 1, 10 })
		f.server.set(errDown, false)
		f.mustEnqueue(t, events("e", 50)...)
		reopen(t, f.spool, true)
		if _, err := f.Enqueue(t.Context(), event("refused")); !errors.Is(err, berrors.ErrDatabaseReadOnly) || !errors.Is(err, errDown) {
			t.Errorf("error %v", err)
		}
		if err := f.Check(t.Context()); !errors.Is(err, berrors.ErrDatabaseReadOnly) {
			t.Errorf("check: %v", err)
		}
		f.server.set(nil, false)
		time.Sleep(4 * time.Second)
		f.mustEnqueue(t, event("live"))
		if stats := f.spool.Stats(); stats.Events < 5 || stats.WriteErr == nil {
			t.Errorf("half-way: stats %+v", stats)
		}
		time.Sleep(2 * time.Second)
		want := append(taskIDs(events("e", 50)), "live")
		if diff := cmp.Diff(want, f.have(), cmpopts.SortSlices(strings.Compare)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if n := f.logs.FilterMessage("spool file cannot be read or written").Len(); n != 1 {
			t.Errorf("logged %d times, want once: %q", n, f.messages())
		}
		// The file that nothing could be deleted from was replaced.
		f.server.set(errDown, false)
		f.mustEnqueue(t, event("again"))
		if stats := f.spool.Stats(); stats.WriteErr != nil || len(f.spool.gone) > 0 {
			t.Errorf("stats %+v, gone %v", stats, f.spool.gone)
		}
	})
}

// A spool that cannot be read keeps no delivery from finding out that the queue is
// back.
func TestDeliveriesProbeWhenTheDrainCannot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, t.TempDir(), nil)
		f.server.set(errDown, false)
		f.mustEnqueue(t, events("e", 5)...)
		if _, err := do(t.Context(), f.spool, func() (int, error) { return 0, f.spool.db.Close() }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		f.server.set(nil, false)
		time.Sleep(2 * time.Second)
		f.mustEnqueue(t, event("live"))
		if got := f.have(); fmt.Sprint(got) != "[live]" {
			t.Errorf("the queue has %q", got)
		}
	})
}
