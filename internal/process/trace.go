package process

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// TraceConfig configures Traces.
type TraceConfig struct {
	// Endpoint is the base URL of an OpenTelemetry collector. Empty turns tracing off.
	Endpoint string
	// Headers are sent with each export, in the form of OTEL_EXPORTER_OTLP_HEADERS:
	// comma-separated name=value pairs, with the values URL-encoded.
	Headers string
	// Service and Version describe the process. OTEL_SERVICE_NAME and
	// OTEL_RESOURCE_ATTRIBUTES override them.
	Service, Version string
	// Log is required.
	Log *zap.Logger
}

// Traces exports the spans of a process with OTLP over HTTP.
type Traces struct {
	provider *sdktrace.TracerProvider // nil if tracing is off
}

// NewTraces returns Traces that connect at the first export. The OpenTelemetry SDK
// reads its other settings, such as OTEL_TRACES_SAMPLER, from the environment.
func NewTraces(ctx context.Context, cfg TraceConfig) (*Traces, error) {
	if cfg.Endpoint == "" {
		return &Traces{}, nil
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(strings.TrimSuffix(cfg.Endpoint, "/") + "/v1/traces")}
	if cfg.Headers != "" {
		headers, err := parseHeaders(cfg.Headers)
		if err != nil {
			return nil, err
		}
		options = append(options, otlptracehttp.WithHeaders(headers))
	}
	self := resource.WithAttributes(attribute.String("service.name", cfg.Service), attribute.String("service.version", cfg.Version))
	description, err := resource.New(ctx, self, resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("set up tracing: %w", err)
	}
	log := cfg.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Minute, 1, 0)
	}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("traces not exported", zap.String("setting", "OTEL_EXPORTER_OTLP_ENDPOINT"), zap.Error(err))
	}))
	return &Traces{sdktrace.NewTracerProvider(sdktrace.WithResource(description), sdktrace.WithBatcher(exporter))}, nil
}

// Tracer returns the tracer of the process, or nil if tracing is off.
func (t *Traces) Tracer() trace.Tracer {
	if t.provider == nil {
		return nil
	}
	return t.provider.Tracer("github.com/klinghook/klinghook")
}

// Shutdown exports the remaining spans, for 5 s at most. Failures are only logged.
func (t *Traces) Shutdown(ctx context.Context) {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// parseHeaders parses "name=value,name=value". Its error contains no values.
func parseHeaders(text string) (map[string]string, error) {
	headers := make(map[string]string)
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, escaped, found := strings.Cut(item, "=")
		value, err := url.PathUnescape(strings.TrimSpace(escaped))
		if name = strings.TrimSpace(name); !found || err != nil || name == "" {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS (--otel-exporter-otlp-headers-file) must be comma-separated name=value pairs; in values write % as %25 and a comma as %2C")
		}
		headers[name] = value
	}
	return headers, nil
}
