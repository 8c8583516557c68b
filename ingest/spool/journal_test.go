package spool

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/klinghook/klinghook/tasks"
)

// elsewhere is where tasks come to be kept.
type elsewhere struct {
	mu    sync.Mutex // guards what follows
	kept  map[string]bool
	err   error
	asked int
}

func (e *elsewhere) keep(ids ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		e.kept[id] = true
	}
}

func (e *elsewhere) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

func (e *elsewhere) has(_ context.Context, ids []string) (map[string]bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return nil, e.err
	}
	e.asked += len(ids)
	return maps.Clone(e.kept), nil
}

// journalFixture is a Journal in a synctest bubble.
type journalFixture struct {
	*Journal
	server *server
	store  *elsewhere
	spool  *Spool
	logs   *observer.ObservedLogs
	reg    *prometheus.Registry
	stop   func()
}

func newJournalFixture(t *testing.T, dir string) *journalFixture {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	f := &journalFixture{server: &server{}, store: &elsewhere{kept: map[string]bool{}}, logs: logs, reg: prometheus.NewRegistry()}
	var err error
	if f.spool, err = Open(Config{Dir: dir, MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	f.Journal = NewJournal(JournalConfig{Inner: f.server, Spool: f.spool, Kept: f.store.has, Log: zap.New(core), Metrics: f.reg})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	f.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		mustClose(t, f.spool)
	})
	t.Cleanup(f.stop)
	synctest.Wait() // what was there has been looked at
	return f
}

func (f *journalFixture) mustEnqueue(t *testing.T, list ...tasks.Task) {
	t.Helper()
	for _, task := range list {
		if _, err := f.Enqueue(t.Context(), task); err != nil {
			t.Fatalf("enqueue %s: %v", task.ID, err)
		}
	}
}

func (f *journalFixture) left() int { return f.spool.Stats().Events }

func TestJournalLetsGoOfWhatIsKeptElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newJournalFixture(t, t.TempDir())
		list := events("e", 2*JournalBatch+1)
		f.mustEnqueue(t, list...)
		if diff := cmp.Diff(taskIDs(list), f.server.have()); diff != "" {
			t.Fatalf("the queue was given (-want +got):\n%s", diff)
		}
		time.Sleep(2 * time.Second)
		if f.left() != len(list) {
			t.Errorf("%d in the spool, want all of %d: none is kept elsewhere", f.left(), len(list))
		}
		f.store.keep(taskIDs(list[1:])...)
		time.Sleep(2 * time.Second)
		if f.left() != 1 {
			t.Errorf("%d in the spool, want the one that is kept nowhere else", f.left())
		}
		if got := testutil.ToFloat64(f.metrics.drained); got != float64(len(list)-1) {
			t.Errorf("metrics count %v, want %d", got, len(list)-1)
		}
	})
}

// TestJournalSurvivesItsQueue holds that what the spool has is enqueued again: by
// the next process, in order of arrival, and in this one when the queue loses it.
func TestJournalSurvivesItsQueue(t *testing.T) {
	dir := t.TempDir()
	list := events("e", 3)
	synctest.Test(t, func(t *testing.T) {
		f := newJournalFixture(t, dir)
		f.server.set(errDown, false)
		f.mustEnqueue(t, list...)
		if got := f.server.have(); len(got) != 0 || f.left() != 3 {
			t.Fatalf("the queue has %q, the spool %d", got, f.left())
		}
		f.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		f := newJournalFixture(t, dir)
		if diff := cmp.Diff(taskIDs(list), f.server.have()); diff != "" {
			t.Errorf("the next process enqueued (-want +got):\n%s", diff)
		}
		f.store.keep(list[0].ID)
		time.Sleep(61 * time.Second)
		want := append(taskIDs(list), taskIDs(list[1:])...)
		if diff := cmp.Diff(want, f.server.have()); diff != "" {
			t.Errorf("after a minute (-want +got):\n%s", diff)
		}
	})
}

func TestJournalWhoseStoreDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newJournalFixture(t, t.TempDir())
		f.store.keep("e-1")
		f.store.fail(errors.New("no database"))
		time.Sleep(time.Second)
		f.mustEnqueue(t, event("e-1"))
		time.Sleep(5 * time.Second)
		if f.left() != 1 {
			t.Errorf("%d in the spool, want 1", f.left())
		}
		f.store.fail(nil)
		time.Sleep(2 * time.Second)
		if f.left() != 0 {
			t.Errorf("%d in the spool, want none", f.left())
		}
		var messages []string
		for _, e := range f.logs.All() {
			messages = append(messages, e.Message)
		}
		if diff := cmp.Diff([]string{"spool cannot be emptied; its events stay", "spool is emptied again"}, messages); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestJournalRefusesWhatItCannotKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newJournalFixture(t, t.TempDir())
		if err := f.Check(t.Context()); err != nil {
			t.Errorf("Check of an empty spool: %v", err)
		}
		large := event("large")
		large.Payload = slices.Repeat([]byte("x"), 1<<20-4096)
		f.mustEnqueue(t, large)
		if _, err := f.Enqueue(t.Context(), large); !errors.Is(err, ErrFull) {
			t.Errorf("Enqueue to a full spool: %v, want ErrFull", err)
		}
		if err := f.Check(t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("Check of a full spool: %v, want ErrFull", err)
		}
		if got := f.server.have(); len(got) != 1 {
			t.Errorf("the queue was given %q: what was refused must not take effect by chance", got)
		}
		if _, err := f.Enqueue(t.Context(), tasks.Task{Kind: "event:unheard", ID: "x"}); err == nil {
			t.Error("a kind that no queue takes went into the spool")
		}
	})
}

func TestJournalSetsAsideWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newJournalFixture(t, t.TempDir())
		mustPut(t, f.spool, tasks.Task{Kind: "event:dance", ID: "of a later release"}, event("good"))
		time.Sleep(2 * time.Second)
		if stats := f.spool.Stats(); stats.Events != 1 || stats.Aside != 1 {
			t.Errorf("stats %+v, want one record and one set aside", stats)
		}
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"good"}, f.server.have()); diff != "" {
			t.Errorf("the queue was given (-want +got):\n%s", diff)
		}
	})
}
