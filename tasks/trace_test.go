package tasks_test

import (
	"context"
	"testing"

	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/trace"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTraceRoundTrip(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"a span":          {traceparent, traceparent},
		"none":            {"", ""},
		"nonsense":        {"00-xyz", ""},
		"an empty one":    {"00-00000000000000000000000000000000-0000000000000000-01", ""},
		"one not sampled": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"},
	} {
		if got := tasks.TraceOf(tasks.WithTrace(t.Context(), tt.text)); got != tt.want {
			t.Errorf("%s came out as %q, want %q", name, got, tt.want)
		}
	}
}

// TestTraceTravelsThroughTheQueue checks that a task's trace reaches its worker. The task's
// own trace, which the spool keeps, takes precedence over the caller's.
func TestTraceTravelsThroughTheQueue(t *testing.T) {
	const other = "00-11111111111111111111111111111111-2222222222222222-01"
	_, rdb := startRedis(t)
	client, inspector := tasks.NewClient(rdb), asynq.NewInspectorFromRedisClient(rdb)
	for _, tt := range []struct{ name, own, caller, want string }{
		{"caller", "", traceparent, traceparent},
		{"own", traceparent, other, traceparent},
		{"none", "", "", ""},
	} {
		task, err := tasks.SendNotification("ntf_"+tt.name, tasks.JobKey{})
		testenv.NoError(t, err)
		task.Trace = tt.own
		if _, err := client.Enqueue(tasks.WithTrace(t.Context(), tt.caller), task); err != nil {
			t.Fatal(err)
		}
		info, err := inspector.GetTaskInfo(tasks.QueueNotify, task.ID)
		testenv.NoError(t, err)
		ctx := tasks.WithTraceOf(context.WithoutCancel(t.Context()), info.Headers)
		if got := tasks.TraceOf(ctx); got != tt.want || trace.SpanContextFromContext(ctx).IsRemote() != (tt.want != "") {
			t.Errorf("%s: %q arrives, want %q", tt.name, got, tt.want)
		}
	}
}
