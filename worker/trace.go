package worker

import (
	"context"
	"strings"

	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/klinghook/klinghook/tasks"
)

// traceAttempt starts the span of an attempt, as a child of the span in its task's
// headers. Refused deliveries, which strangers send, are not traced.
func (w *Worker) traceAttempt(ctx context.Context, a attempt, task *asynq.Task) (_ context.Context, end func(error)) {
	if w.cfg.Tracer == nil || a.task.Kind == tasks.KindRejectionKeep {
		return ctx, func(error) {}
	}
	ctx, span := w.cfg.Tracer.Start(tasks.WithTraceOf(ctx, task.Headers()), string(a.task.Kind), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attribute.String("messaging.system", "asynq"), attribute.String("messaging.destination.name", a.queue), attribute.String("messaging.message.id", a.task.ID),
			attribute.Int("klinghook.attempt", a.number), attribute.Stringer("klinghook.job_id", a.job), attribute.String("klinghook.event_id", a.eventID)))
	return ctx, func(err error) { endSpan(span, err) }
}

// traced runs a part of a task's work in its own span.
func (w *Worker) traced(ctx context.Context, name string, work func(context.Context) error, attributes ...attribute.KeyValue) error {
	if w.cfg.Tracer == nil {
		return work(ctx)
	}
	ctx, span := w.cfg.Tracer.Start(ctx, name, trace.WithAttributes(attributes...))
	err := work(ctx)
	endSpan(span, err)
	return err
}

// endSpan ends a span with the first line of an error; a panic's stack would follow.
func endSpan(span trace.Span, err error) {
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		span.SetStatus(codes.Error, first)
	}
	span.End()
}
