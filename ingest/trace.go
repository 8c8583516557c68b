package ingest

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/klinghook/klinghook/tasks"
)

// trace starts a span for a verified delivery, if tracing is on. The span has no parent,
// because the sender's trace is not trusted. end ends the span.
func (s *Server) trace(ctx context.Context, event tasks.Event, at time.Time) (_ context.Context, end func(duplicate bool, err error)) {
	if s.cfg.Tracer == nil {
		return ctx, func(bool, error) {}
	}
	ctx, span := s.cfg.Tracer.Start(ctx, "delivery "+event.Source, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(at),
		trace.WithAttributes(
			attribute.String("klinghook.event_id", event.ID), attribute.String("klinghook.event_type", event.Type), attribute.Stringer("klinghook.job_id", event.Job),
			attribute.Int("http.request.body.size", len(event.Body))))
	return ctx, func(duplicate bool, err error) {
		span.SetAttributes(attribute.Bool("klinghook.duplicate", duplicate))
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}
