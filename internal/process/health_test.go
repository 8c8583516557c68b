package process_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/process"
)

// check returns a check and a function that sets its error.
func check(name string) (c process.Dependency, fail func(error)) {
	var result atomic.Pointer[error]
	probe := func(context.Context) error {
		if err := result.Load(); err != nil {
			return *err
		}
		return nil
	}
	return process.Dependency{Name: name, Probe: probe}, func(err error) { result.Store(&err) }
}

// ready returns the answer of h.Ready.
func ready(ctx context.Context, h *process.Health) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.Ready(w, httptest.NewRequestWithContext(ctx, "GET", "/readyz", http.NoBody))
	return w
}

func TestLiveDoesNotNeedTheChecks(t *testing.T) {
	down := process.Dependency{Name: "redis", Probe: func(context.Context) error { return errors.New("down") }}
	w := httptest.NewRecorder()
	process.NewHealth(zap.NewNop(), down).Live(w, httptest.NewRequest("GET", "/healthz", http.NoBody))
	if got := w.Body.String(); w.Code != 200 || got != `{"status":"ok"}`+"\n" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("live answers %d %s", w.Code, got)
	}
}

func TestReadyListsFailingChecks(t *testing.T) {
	passes := func(context.Context) error { return nil }
	fails := func(context.Context) error { return errors.New("dial 10.1.2.3: refused") }
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	depth := func() map[string]any { return map[string]any{"spool": map[string]any{"events": 3}} }
	// Fails if it starts after the timeout.
	inTime := func(ctx context.Context) error { return ctx.Err() }
	tests := []struct {
		name       string
		checks     []process.Dependency
		wantStatus int
		want       string
		wantTook   time.Duration
	}{
		{"nothing to check", nil, 200, `{"status":"ready"}`, 0},
		{"all well", []process.Dependency{{"redis", passes, nil}, {"database", passes, nil}}, 200, `{"status":"ready"}`, 0},
		{"one down", []process.Dependency{{"redis", fails, nil}, {"database", passes, nil}}, 503, `{"checks":{"redis":"unreachable"},"status":"not ready"}`, 0},
		{"one hangs", []process.Dependency{{"redis", hangs, nil}, {"database", inTime, nil}}, 503, `{"checks":{"redis":"unreachable"},"status":"not ready"}`, time.Second},
		{"with a detail", []process.Dependency{{"spool", passes, depth}}, 200, `{"spool":{"events":3},"status":"ready"}`, 0},
		{"down, with a detail", []process.Dependency{{"spool", fails, depth}}, 503, `{"checks":{"spool":"unreachable"},"spool":{"events":3},"status":"not ready"}`, 0},
		{"all hang", []process.Dependency{{"redis", hangs, nil}, {"database", hangs, nil}}, 503, `{"checks":{"database":"unreachable","redis":"unreachable"},"status":"not ready"}`, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				w := ready(t.Context(), process.NewHealth(zap.NewNop(), tt.checks...))
				if took := time.Since(start); took != tt.wantTook {
					t.Errorf("took %s, want %s", took, tt.wantTook)
				}
				if got := strings.TrimSpace(w.Body.String()); w.Code != tt.wantStatus || got != tt.want {
					t.Errorf("ready answers %d %s, want %d %s", w.Code, got, tt.wantStatus, tt.want)
				}
			})
		})
	}
}

func TestResultsAreKeptForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int64
		h := process.NewHealth(zap.NewNop(), process.Dependency{Name: "redis", Probe: func(context.Context) error {
			probes.Add(1)
			return nil
		}})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { ready(t.Context(), h) })
		}
		wg.Wait()
		time.Sleep(time.Second - time.Nanosecond)
		ready(t.Context(), h)
		if got := probes.Load(); got != 1 {
			t.Errorf("%d probes within a second, want 1", got)
		}
		time.Sleep(time.Nanosecond)
		ready(t.Context(), h)
		if got := probes.Load(); got != 2 {
			t.Errorf("%d probes after a second, want 2", got)
		}
	})
}

func TestClientThatGoesAwayDoesNotFailTheChecks(t *testing.T) {
	h := process.NewHealth(zap.NewNop(), process.Dependency{Name: "redis", Probe: func(ctx context.Context) error { return ctx.Err() }})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if w := ready(gone, h); w.Code != 200 {
		t.Errorf("ready answers %d %s", w.Code, w.Body)
	}
}

func TestChangesOfReadinessAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logs := observed()
		c, fail := check("redis")
		h := process.NewHealth(log, c)
		for _, err := range []error{nil, errors.New("refused"), errors.New("refused"), nil, nil} {
			fail(err)
			ready(t.Context(), h)
			time.Sleep(time.Second)
		}
		var got []string
		for _, entry := range logs.All() {
			fields := entry.ContextMap()
			got = append(got, fmt.Sprint(entry.Level, ": ", entry.Message, " ", fields["check"], " ", fields["error"]))
		}
		if want := "warn: not ready redis refused, info: ready again redis <nil>"; strings.Join(got, ", ") != want {
			t.Errorf("logged %q, want %q", strings.Join(got, ", "), want)
		}
	})
}
