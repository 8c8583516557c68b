package cli

import (
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/tracing"
)

// Tracing is what traces a process, as the settings say. The caller shuts it down.
func Tracing(cfg *config.Config, service, stamp string, log *zap.Logger) (*tracing.Provider, error) {
	traces, err := tracing.New(tracing.Config{Endpoint: cfg.OTLPEndpoint, Headers: cfg.OTLPHeaders, Service: service, Version: Version(stamp), Log: log})
	if err != nil {
		return nil, usageError{err}
	}
	return traces, nil
}
