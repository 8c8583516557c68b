package cli

import (
	"context"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/process"
)

// Tracing returns the process's traces. The caller shuts them down.
func Tracing(ctx context.Context, cfg *config.Config, service, stamp string, log *zap.Logger) (*process.Traces, error) {
	traces, err := process.NewTraces(ctx, process.TraceConfig{Endpoint: cfg.OTLPEndpoint, Headers: cfg.OTLPHeaders, Service: service, Version: Version(stamp), Log: log})
	if err != nil {
		return nil, usageError{err}
	}
	return traces, nil
}
