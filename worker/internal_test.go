package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/tasks"
)

func TestEveryKindHasAHandler(t *testing.T) {
	handlers := (&Worker{}).newHandlers()
	for _, p := range tasks.Policies() {
		if handlers[p.Kind].run == nil {
			t.Errorf("kind %s has no handler", p.Kind)
		}
	}
	if len(handlers) != len(tasks.Policies()) {
		t.Errorf("%d handlers for %d kinds", len(handlers), len(tasks.Policies()))
	}
}

func TestBackoff(t *testing.T) {
	policy := tasks.Policy{BackoffBase: time.Second, BackoffCap: 10 * time.Second}
	tests := []struct {
		name     string
		retries  int
		asked    time.Duration
		min, max time.Duration
	}{
		{"after the first attempt", 0, 0, 0, time.Second},
		{"after the second attempt", 1, 0, 0, 2 * time.Second},
		{"after the fourth attempt", 3, 0, 0, 8 * time.Second},
		{"capped", 4, 0, 0, 10 * time.Second},
		{"capped after many attempts", 1 << 20, 0, 0, 10 * time.Second},
		{"not before Retry-After", 0, time.Minute, time.Minute, time.Minute + time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			low, high := time.Duration(1<<62), time.Duration(0)
			for range 2000 {
				d := backoff(policy, tt.retries, tt.asked)
				if d < tt.min || d > tt.max {
					t.Fatalf("wait %s, want between %s and %s", d, tt.min, tt.max)
				}
				low, high = min(low, d), max(high, d)
			}
			// Full jitter: the whole range is used.
			if span := tt.max - tt.min; high-low < span*9/10 {
				t.Errorf("waits only between %s and %s, want them spread from %s to %s", low, high, tt.min, tt.max)
			}
		})
	}
}

func TestReportedRetryDelayIsUsed(t *testing.T) {
	failed := fmt.Errorf("wrapped: %w", &attemptError{error: errors.New("busy"), retryIn: 7 * time.Second})
	if got := retryDelay(3, failed, asynq.NewTask(string(tasks.KindMediaDownload), nil)); got != 7*time.Second {
		t.Errorf("retried after %s, want 7s, as reported", got)
	}
}

func TestAttemptEndsBeforeAsynqsTimeout(t *testing.T) {
	tests := []struct {
		name        string
		interrupt   time.Duration
		want        time.Duration
		interrupted bool
	}{
		{"time-out", time.Hour, 45 * time.Second, false},
		{"shutdown", 10 * time.Second, 10 * time.Second, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &Worker{interrupt: make(chan struct{})}
				timer := time.AfterFunc(tt.interrupt, func() { close(w.interrupt) })
				defer timer.Stop()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				err := w.runBounded(ctx, nil, func(ctx context.Context, _ []byte) error {
					<-ctx.Done()
					return ctx.Err()
				})
				if took := time.Since(start); took != tt.want || err == nil || errors.Is(err, errInterrupted) != tt.interrupted || ctx.Err() != nil {
					t.Errorf("ended after %s with %v, asynq's context: %v; want after %s, interrupted %t", took, err, ctx.Err(), tt.want, tt.interrupted)
				}
			})
		})
	}
}
