// Package tracing makes the tracer of a process, which exports its spans to an
// OpenTelemetry collector by OTLP over HTTP, in JSON. Without an endpoint it makes
// one that does nothing and costs nothing.
//
// The exporter is ours because the SDK's own links gRPC, which has no place in the
// public program: a test holds that. JSON is one of OTLP's two encodings, which every
// collector takes at the same port (opentelemetry.io/docs/specs/otlp).
package tracing
