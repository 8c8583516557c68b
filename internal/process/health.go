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

// Dependency is something needed by a process, such as Redis.
type Dependency struct {
	// Name is shown to callers. The probe's error appears only in the log.
	Name string
	// Probe returns an error if the dependency cannot be used. Probes of different
	// checks run concurrently and must return when their context ends, after a second.
	Probe func(context.Context) error
	// Detail, if set, returns more fields for Ready's answer. It must not block.
	Detail func() map[string]any
}

// probeLimit is how long a check may take and how long its result is kept.
const probeLimit = time.Second

// Health answers whether a process is alive and whether it is ready. It keeps results
// for a second, so that many requests do not reach the dependencies. It is safe for
// concurrent use.
type Health struct {
	log    *zap.Logger
	checks []Dependency

	mu      sync.Mutex // guards the fields below; held while probing
	probed  time.Time
	failing map[string]string
}

// NewHealth returns a Health that is ready when all checks pass.
func NewHealth(log *zap.Logger, checks ...Dependency) *Health {
	return &Health{log: log, checks: checks}
}

// Live answers 200 with {"status":"ok"} as long as the process serves requests.
func (h *Health) Live(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"status": "ok"})
}

// Ready answers 200 with {"status":"ready"} if every check passes, else 503 with the
// names of the checks that failed:
//
//	{"status":"not ready","checks":{"redis":"unreachable"}}
//
// The fields of the checks' details are added to it.
func (h *Health) Ready(w http.ResponseWriter, r *http.Request) {
	status, body := http.StatusOK, map[string]any{}
	for _, check := range h.checks {
		if check.Detail != nil {
			maps.Copy(body, check.Detail())
		}
	}
	body["status"] = "ready"
	if failing := h.probe(r.Context()); len(failing) > 0 {
		status = http.StatusServiceUnavailable
		body["status"], body["checks"] = "not ready", failing
	}
	answer(w, status, body)
}

// probe returns the failing checks. It logs when a check starts to fail and when it
// passes again.
func (h *Health) probe(ctx context.Context) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.probed) < probeLimit {
		return h.failing
	}
	// The result is shared, so it must not depend on this caller's context.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeLimit)
	defer cancel()
	errs := make([]error, len(h.checks))
	var wg sync.WaitGroup
	for i, check := range h.checks {
		wg.Go(func() { errs[i] = check.Probe(ctx) })
	}
	wg.Wait()
	failing := make(map[string]string)
	for i, check := range h.checks {
		_, failed := h.failing[check.Name]
		switch {
		case errs[i] != nil:
			failing[check.Name] = "unreachable"
			if !failed {
				h.log.Warn("not ready", zap.String("check", check.Name), zap.Error(errs[i]))
			}
		case failed:
			h.log.Info("ready again", zap.String("check", check.Name))
		}
	}
	h.failing, h.probed = failing, time.Now()
	return failing
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // The client may have gone.
}
