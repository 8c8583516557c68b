package process

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Check is one thing that a process needs in order to do its work.
type Check struct {
	// Name is shown to whoever asks, the probe's error only in the log.
	Name  string
	Probe func(context.Context) error
}

// probeTimeout bounds a check; a hung dependency is not ready.
const probeTimeout = time.Second

// Health answers whether a process is alive and whether it is ready. Results are
// kept for a second, so that no flood of questions reaches what is checked.
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

// Live answers 200 as long as the process serves at all.
func (h *Health) Live(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"status": "ok"})
}

// Ready answers 200 when every check passes, else 503 with the names of those
// that fail.
func (h *Health) Ready(w http.ResponseWriter, r *http.Request) {
	failing := h.probe(r.Context())
	if len(failing) == 0 {
		answer(w, http.StatusOK, map[string]any{"status": "ready"})
		return
	}
	answer(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "checks": failing})
}

func (h *Health) probe(ctx context.Context) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.probed) < time.Second {
		return h.failing
	}
	// The result is everybody's: one caller's going away must not spoil it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	failing := make(map[string]string)
	for _, c := range h.checks {
		if err := c.Probe(ctx); err != nil {
			failing[c.Name] = "unreachable"
			h.log.Warn("not ready", zap.String("check", c.Name), zap.Error(err))
		}
	}
	h.failing, h.probed = failing, time.Now()
	return failing
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the asker has gone; there is nobody to tell
}
