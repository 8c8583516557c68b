package tasks

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceHeader is the header of a task that names the span which it follows from, as
// W3C's Trace Context writes it. asynq keeps headers over retries.
const traceHeader = "traceparent"

// TraceOf returns the span of ctx in W3C's form; empty where there is none.
func TraceOf(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return "" // as at nearly every call where nothing is traced
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceHeader]
}

// WithTrace returns ctx with the span that [TraceOf] wrote as the parent of those
// that are begun in it. What is no span changes nothing.
func WithTrace(ctx context.Context, text string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceHeader: text})
}

// WithTraceOf is [WithTrace] for the headers of a task.
func WithTraceOf(ctx context.Context, headers map[string]string) context.Context {
	return WithTrace(ctx, headers[traceHeader])
}

// traceHeaders are the headers of a task that follows from a span, if it does.
func traceHeaders(text string) map[string]string {
	if text == "" {
		return nil
	}
	return map[string]string{traceHeader: text}
}
