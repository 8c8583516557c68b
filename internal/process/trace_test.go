package process_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/testenv"
)

// export exports one span and returns its trace.
func export(t *testing.T, cfg process.TraceConfig) trace.TraceID {
	t.Helper()
	traces, err := process.NewTraces(t.Context(), cfg)
	testenv.NoError(t, err)
	_, span := traces.Tracer().Start(t.Context(), "store event")
	span.End()
	traces.Shutdown(t.Context())
	return span.SpanContext().TraceID()
}

func TestSpansAreExported(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=staging")
	exports := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		exports <- fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("X-Api-Key"), " ", r.Header.Get("X-Other"), " ", string(body))
	}))
	defer collector.Close()
	id := export(t, process.TraceConfig{
		Endpoint: collector.URL + "/", Headers: "x-api-key=a%2Cb, x-other=1", Service: "klinghook-worker", Version: "v1.2.3", Log: zap.NewNop(),
	})
	got := receive(t, exports, "the export")
	for _, want := range []string{"POST /v1/traces a,b 1 ", "store event", "klinghook-worker", "v1.2.3", "staging"} {
		if !strings.Contains(got, want) {
			t.Errorf("exported %q, want %q in it", got, want)
		}
	}
	if !bytes.Contains([]byte(got), id[:]) {
		t.Error("the export lacks the trace's id")
	}
}

func TestRefusedExportIsLogged(t *testing.T) {
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer collector.Close()
	log, logs := observed()
	export(t, process.TraceConfig{Endpoint: collector.URL, Service: "klinghook-worker", Log: log})
	entries := logs.FilterMessage("traces not exported").All()
	if len(entries) != 1 || !strings.Contains(fmt.Sprint(entries[0].ContextMap()["error"]), "401") {
		t.Errorf("logged %v, want one line with the status", logs.All())
	}
}

func TestTracingIsOffWithoutEndpoint(t *testing.T) {
	traces, err := process.NewTraces(t.Context(), process.TraceConfig{Headers: "invalid", Log: zap.NewNop()})
	if err != nil || traces.Tracer() != nil {
		t.Errorf("got a tracer, %v", err)
	}
	traces.Shutdown(t.Context())
}

func TestHeaderErrorHidesTheValue(t *testing.T) {
	for _, headers := range []string{"hunter2", "=hunter2", "x=%zzhunter2"} {
		_, err := process.NewTraces(t.Context(), process.TraceConfig{Endpoint: "http://127.0.0.1:4318", Headers: headers, Log: zap.NewNop()})
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_HEADERS") {
			t.Errorf("%q: %v", headers, err)
		}
	}
}
