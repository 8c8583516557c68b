package tracing

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// requestTimeout bounds one try to export.
	requestTimeout = 10 * time.Second
	// tries is how often a batch is sent that the collector cannot take now, with
	// firstWait and then double that between.
	tries     = 4
	firstWait = 500 * time.Millisecond
)

// exporter sends spans to a collector. It implements [sdktrace.SpanExporter].
type exporter struct {
	url     string
	headers http.Header
	client  *http.Client
}

// ExportSpans sends a batch, and sends it again where the collector says that it may
// (OTLP's specification, section "Retryable Response Codes").
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	body, err := json.Marshal(encode(spans))
	if err != nil {
		return fmt.Errorf("encode %d spans: %w", len(spans), err)
	}
	wait := firstWait
	for try := 1; ; try++ {
		retryable, err := e.send(ctx, body)
		if err == nil || !retryable || try == tries {
			return err
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-ctx.Done():
			return err
		}
	}
}

// send is one try.
func (e *exporter) send(ctx context.Context, body []byte) (retryable bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header = e.headers.Clone()
	r.Header.Set("Content-Type", "application/json")
	res, err := e.client.Do(r)
	if err != nil {
		return true, fmt.Errorf("export spans: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	switch res.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return false, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		retryable = true
	}
	return retryable, fmt.Errorf("export spans: the collector answered %s", res.Status)
}

// Shutdown lets go of the connection.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}
