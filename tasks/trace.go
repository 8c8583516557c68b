package tasks

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceHeader is the task header with the parent span, in W3C's Trace Context format.
// asynq keeps headers across retries.
const traceHeader = "traceparent"

// TraceOf returns the span of ctx in W3C's format; empty when there is none.
func TraceOf(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceHeader]
}

// WithTrace returns ctx with the span that [TraceOf] wrote as the parent of new spans.
// Invalid text is ignored.
func WithTrace(ctx context.Context, text string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceHeader: text})
}

// WithTraceOf is like [WithTrace] for the headers of a task.
func WithTraceOf(ctx context.Context, headers map[string]string) context.Context {
	return WithTrace(ctx, headers[traceHeader])
}

// traceHeaders returns the headers of a task with this parent span, which may be empty.
func traceHeaders(text string) map[string]string {
	if text == "" {
		return nil
	}
	return map[string]string{traceHeader: text}
}
