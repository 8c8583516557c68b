package tracing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/klinghook/klinghook/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// collector takes what is exported, and answers with each status in turn and then
// with 200.
type collector struct {
	*httptest.Server

	mu       sync.Mutex // guards what follows
	statuses []int
	asked    int
	header   http.Header
	path     string
	body     []byte
}

func newCollector(t *testing.T, statuses ...int) *collector {
	t.Helper()
	c := &collector{statuses: statuses}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked++
		c.header, c.path = r.Header, r.URL.Path
		c.body, _ = io.ReadAll(r.Body)
		if len(c.statuses) > 0 {
			w.WriteHeader(c.statuses[0])
			c.statuses = c.statuses[1:]
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// TestExport holds the JSON of a trace against OTLP's specification, by hand.
func TestExport(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	c := newCollector(t)
	p, err := New(Config{Endpoint: c.URL + "/", Headers: "x-api-key=a%2Cb, x-other=1", Service: "klinghook-worker", Version: "v1", Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1700000000, 5).UTC()
	ctx, root := p.Tracer().Start(t.Context(), "delivery klingai", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(start),
		trace.WithAttributes(attribute.String("s", "text"), attribute.Int("i", 1<<60), attribute.Bool("b", true), attribute.Float64("f", 0.5), attribute.StringSlice("l", []string{"a"})))
	_, child := p.Tracer().Start(ctx, "store event", trace.WithTimestamp(start))
	child.AddEvent("retry", trace.WithTimestamp(start))
	child.SetStatus(codes.Error, "down")
	child.End(trace.WithTimestamp(start.Add(time.Second)))
	root.SetStatus(codes.Ok, "")
	root.End(trace.WithTimestamp(start.Add(2 * time.Second)))
	p.Shutdown(t.Context())

	if c.path != "/v1/traces" || c.header.Get("X-Api-Key") != "a,b" || c.header.Get("X-Other") != "1" || c.header.Get("Content-Type") != "application/json" {
		t.Errorf("asked for %s with %v", c.path, c.header)
	}
	id := root.SpanContext().TraceID().String()
	want := `{"resourceSpans":[{"resource":{"attributes":[
		{"key":"deployment.environment","value":{"stringValue":"test"}},
		{"key":"service.name","value":{"stringValue":"klinghook-worker"}},
		{"key":"service.version","value":{"stringValue":"v1"}}]},
		"scopeSpans":[{"scope":{"name":"github.com/klinghook/klinghook"},"spans":[
		{"traceId":"` + id + `","spanId":"` + child.SpanContext().SpanID().String() + `","parentSpanId":"` + root.SpanContext().SpanID().String() + `",
		 "name":"store event","kind":1,"startTimeUnixNano":"1700000000000000005","endTimeUnixNano":"1700000001000000005",
		 "events":[{"timeUnixNano":"1700000000000000005","name":"retry"}],"status":{"code":2,"message":"down"}},
		{"traceId":"` + id + `","spanId":"` + root.SpanContext().SpanID().String() + `",
		 "name":"delivery klingai","kind":2,"startTimeUnixNano":"1700000000000000005","endTimeUnixNano":"1700000002000000005",
		 "attributes":[{"key":"s","value":{"stringValue":"text"}},{"key":"i","value":{"intValue":"1152921504606846976"}},
		  {"key":"b","value":{"boolValue":true}},{"key":"f","value":{"doubleValue":0.5}},{"key":"l","value":{"stringValue":"[\"a\"]"}}],
		 "status":{"code":1}}]}]}]}`
	var got, wanted any
	if err := errors.Join(json.Unmarshal(c.body, &got), json.Unmarshal([]byte(want), &wanted)); err != nil {
		t.Fatalf("%v: %s", err, c.body)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestTries checks what is sent again, and that what is lost is logged.
func TestTries(t *testing.T) {
	tests := []struct {
		name      string
		statuses  []int
		wantAsked int
		wantLost  string
	}{
		{"busy", []int{503, 429}, 3, ""},
		{"refused", []int{401}, 1, "401"},
		{"too old a collector", []int{404}, 1, "404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			core, logs := observer.New(zapcore.WarnLevel)
			c := newCollector(t, tt.statuses...)
			p, err := New(Config{Endpoint: c.URL, Service: "s", Log: zap.New(core)})
			if err != nil {
				t.Fatal(err)
			}
			_, span := p.Tracer().Start(t.Context(), "a")
			span.End()
			p.Shutdown(t.Context())
			if c.asked != tt.wantAsked {
				t.Errorf("asked %d times, want %d", c.asked, tt.wantAsked)
			}
			var lost string
			for _, entry := range logs.All() {
				lost += fmt.Sprint(entry.ContextMap()["error"])
			}
			if (lost == "") != (tt.wantLost == "") || !strings.Contains(lost, tt.wantLost) {
				t.Errorf("logged %q, want %q in it", lost, tt.wantLost)
			}
		})
	}
}

func TestOff(t *testing.T) {
	p, err := New(Config{Log: zap.NewNop()})
	if err != nil || p.Tracer() != nil {
		t.Errorf("without an endpoint there is a tracer, %v", err)
	}
	p.Shutdown(t.Context())
}

func TestHeaders(t *testing.T) {
	for _, text := range []string{"hunter2", "=hunter2", "x=%zzhunter2"} {
		if _, err := New(Config{Endpoint: "http://127.0.0.1:4318", Headers: text, Log: zap.NewNop()}); err == nil || strings.Contains(err.Error(), "hunter2") ||
			!strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_HEADERS") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
