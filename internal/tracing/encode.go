package tracing

import (
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// What follows is opentelemetry/proto/collector/trace/v1 in its JSON form: names in
// lowerCamelCase, ids in hex, 64-bit numbers as text, enums as numbers.

type exportRequest struct {
	ResourceSpans []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource   resourceJSON `json:"resource"`
	ScopeSpans []scopeSpans `json:"scopeSpans"`
}

type resourceJSON struct {
	Attributes []keyValue `json:"attributes"`
}

type scopeSpans struct {
	Scope scopeJSON  `json:"scope"`
	Spans []spanJSON `json:"spans"`
}

type scopeJSON struct {
	Name string `json:"name"`
}

type spanJSON struct {
	TraceID      string      `json:"traceId"`
	SpanID       string      `json:"spanId"`
	ParentSpanID string      `json:"parentSpanId,omitempty"`
	Name         string      `json:"name"`
	Kind         int         `json:"kind"`
	Start        string      `json:"startTimeUnixNano"`
	End          string      `json:"endTimeUnixNano"`
	Attributes   []keyValue  `json:"attributes,omitempty"`
	Events       []eventJSON `json:"events,omitempty"`
	Status       *statusJSON `json:"status,omitempty"`
}

type eventJSON struct {
	Time       string     `json:"timeUnixNano"`
	Name       string     `json:"name"`
	Attributes []keyValue `json:"attributes,omitempty"`
}

type statusJSON struct {
	Message string `json:"message,omitempty"`
	Code    int    `json:"code"`
}

type keyValue struct {
	Key   string         `json:"key"`
	Value map[string]any `json:"value"`
}

// encode writes spans of one process, which share their resource and scope.
func encode(spans []sdktrace.ReadOnlySpan) exportRequest {
	list := make([]spanJSON, len(spans))
	for i, s := range spans {
		list[i] = encodeSpan(s)
	}
	return exportRequest{ResourceSpans: []resourceSpans{{
		Resource:   resourceJSON{Attributes: encodeAttributes(spans[0].Resource().Attributes())},
		ScopeSpans: []scopeSpans{{Scope: scopeJSON{Name: spans[0].InstrumentationScope().Name}, Spans: list}},
	}}}
}

func encodeSpan(s sdktrace.ReadOnlySpan) spanJSON {
	out := spanJSON{
		TraceID: s.SpanContext().TraceID().String(), SpanID: s.SpanContext().SpanID().String(),
		Name: s.Name(), Kind: int(s.SpanKind()), // whose numbers are OTLP's
		Start: nanos(s.StartTime()), End: nanos(s.EndTime()), Attributes: encodeAttributes(s.Attributes()),
	}
	if s.Parent().HasSpanID() {
		out.ParentSpanID = s.Parent().SpanID().String()
	}
	for _, ev := range s.Events() {
		out.Events = append(out.Events, eventJSON{Time: nanos(ev.Time), Name: ev.Name, Attributes: encodeAttributes(ev.Attributes)})
	}
	// OTLP counts the codes otherwise than Go's API: OK is 1, an error 2.
	switch s.Status().Code {
	case codes.Ok:
		out.Status = &statusJSON{Code: 1}
	case codes.Error:
		out.Status = &statusJSON{Code: 2, Message: s.Status().Description}
	}
	return out
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

// encodeAttributes writes attributes; those of a type that ours never have, such as
// lists, become text.
func encodeAttributes(attributes []attribute.KeyValue) []keyValue {
	var list []keyValue
	for _, a := range attributes {
		var value map[string]any
		switch a.Value.Type() {
		case attribute.BOOL:
			value = map[string]any{"boolValue": a.Value.AsBool()}
		case attribute.INT64:
			value = map[string]any{"intValue": strconv.FormatInt(a.Value.AsInt64(), 10)}
		case attribute.FLOAT64:
			value = map[string]any{"doubleValue": a.Value.AsFloat64()}
		default:
			value = map[string]any{"stringValue": a.Value.String()}
		}
		list = append(list, keyValue{string(a.Key), value})
	}
	return list
}
