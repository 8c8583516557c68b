package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Config is what a Provider is made of.
type Config struct {
	// Endpoint is the collector's URL, to which /v1/traces is added; empty switches
	// tracing off.
	Endpoint string
	// Headers are sent with each export: "name=value" with commas between, the values
	// escaped as in a URL, as OTEL_EXPORTER_OTLP_HEADERS has them.
	Headers string
	// Service and Version name the process, unless OTEL_SERVICE_NAME and
	// OTEL_RESOURCE_ATTRIBUTES, which the SDK reads, say otherwise.
	Service, Version string
	// Log is required.
	Log *zap.Logger
}

// Provider makes the tracer of a process.
type Provider struct {
	provider *sdktrace.TracerProvider // nil where tracing is off
}

// shutdownTimeout bounds the last export.
const shutdownTimeout = 5 * time.Second

// New returns a Provider for cfg. It does not connect yet. How much is sampled and
// how spans are batched is read by the SDK from OTEL_TRACES_SAMPLER, OTEL_BSP_… and
// others of its own.
func New(cfg Config) (*Provider, error) {
	if cfg.Endpoint == "" {
		return &Provider{}, nil
	}
	headers, err := parseHeaders(cfg.Headers)
	if err != nil {
		return nil, err
	}
	own := resource.NewSchemaless(attribute.String("service.name", cfg.Service), attribute.String("service.version", cfg.Version))
	// What the environment says goes before what is ours.
	res, err := resource.Merge(own, resource.Environment())
	if err != nil {
		return nil, fmt.Errorf("describe this process to the collector: %w; see OTEL_RESOURCE_ATTRIBUTES", err)
	}
	log := cfg.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Minute, 1, 0)
	}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("traces not exported", zap.String("setting", "OTEL_EXPORTER_OTLP_ENDPOINT"), zap.Error(err))
	}))
	exporter := &exporter{
		url: strings.TrimSuffix(cfg.Endpoint, "/") + "/v1/traces", headers: headers, client: &http.Client{Timeout: requestTimeout},
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter))
	return &Provider{provider}, nil
}

// Tracer returns the tracer of the process, nil where tracing is off.
func (p *Provider) Tracer() trace.Tracer {
	if p.provider == nil {
		return nil
	}
	return p.provider.Tracer("github.com/klinghook/klinghook")
}

// Shutdown exports what is left, for a few seconds at most. That it could not is
// logged and no error: nothing else depends on it.
func (p *Provider) Shutdown(ctx context.Context) {
	if p.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := p.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// parseHeaders reads "name=value,name=value". Its errors tell nothing of a value.
func parseHeaders(text string) (http.Header, error) {
	headers := make(http.Header)
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, escaped, found := strings.Cut(item, "=")
		value, err := url.PathUnescape(strings.TrimSpace(escaped))
		if !found || err != nil || strings.TrimSpace(name) == "" {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS (--otel-exporter-otlp-headers-file): write name=value with commas between, and in values % as %25, comma as %2C")
		}
		headers.Set(strings.TrimSpace(name), value)
	}
	return headers, nil
}
