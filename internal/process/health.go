package process

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Check is one thing that a process needs in order to do its work.
type Check struct {
	// Name is shown to whoever asks, the probe's error only in the log.
	Name string
	// Probe returns why the thing cannot be used, and nil when it can. It may be
	// called at the same time as other checks' probes, and must return when its
	// context ends, which is after a second.
	Probe func(context.Context) error
	// Detail, where set, returns what else Ready tells of the thing, by name. It is
	// asked each time, and must not wait.
	Detail func() map[string]any
}

const (
	// probeTimeout bounds a check: what hangs is not ready.
	probeTimeout = time.Second
	// probeInterval is how long results are kept.
	probeInterval = time.Second
)

// Health answers whether a process is alive and whether it is ready. Results are
// kept for a second, so that no flood of questions reaches what is checked. It is
// safe for concurrent use.
type Health struct {
	log    *zap.Logger
	checks []Check

	mu      sync.Mutex // guards what follows, and lets one caller probe at a time
	probed  time.Time
	failing map[string]string
}

// NewHealth returns a Health that is ready when all checks pass.
func NewHealth(log *zap.Logger, checks ...Check) *Health {
	return &Health{log: log, checks: checks}
}

// Live answers 200 with {"status":"ok"} as long as the process serves at all.
func (h *Health) Live(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"status": "ok"})
}

// Ready answers 200 with {"status":"ready"} when every check passes, else 503
// with the names of those that fail:
//
//	{"status":"not ready","checks":{"redis":"unreachable"}}
//
// What the checks tell in detail stands beside it, by names of theirs.
func (h *Health) Ready(w http.ResponseWriter, r *http.Request) {
	status, body := http.StatusOK, map[string]any{}
	for _, c := range h.checks {
		if c.Detail != nil {
			maps.Copy(body, c.Detail())
		}
	}
	body["status"] = "ready"
	if failing := h.probe(r.Context()); len(failing) > 0 {
		status = http.StatusServiceUnavailable
		body["status"], body["checks"] = "not ready", failing
	}
	answer(w, status, body)
}

// probe returns the failing checks. The log gets a line when one begins to fail
// and when it passes again.
func (h *Health) probe(ctx context.Context) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.probed) < probeInterval {
		return h.failing
	}
	errs := h.probeAll(ctx)
	failing := make(map[string]string)
	for i, c := range h.checks {
		_, failed := h.failing[c.Name]
		switch {
		case errs[i] != nil:
			failing[c.Name] = "unreachable"
			if !failed {
				h.log.Warn("not ready", zap.String("check", c.Name), zap.Error(errs[i]))
			}
		case failed:
			h.log.Info("ready again", zap.String("check", c.Name))
		}
	}
	h.failing, h.probed = failing, time.Now()
	return failing
}

// probeAll returns each check's result. They run at the same time: one that hangs
// takes nothing of the others' time.
func (h *Health) probeAll(ctx context.Context) []error {
	// The result is everybody's: one caller's going away must not spoil it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	errs := make([]error, len(h.checks))
	var wg sync.WaitGroup
	for i, c := range h.checks {
		wg.Go(func() { errs[i] = c.Probe(ctx) })
	}
	wg.Wait()
	return errs
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the asker has gone; there is nobody to tell
}
