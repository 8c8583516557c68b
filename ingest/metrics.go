package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The outcomes of a delivery, as the log and the metrics name them.
const (
	outcomeAccepted  = "accepted"
	outcomeDuplicate = "duplicate"
	outcomeTest      = "test" // from klinghook doctor
	outcomeSignature = "invalid_signature"
	outcomeMalformed = "malformed"
	// outcomeUnreadable is a signed body of unknown shape. It is kept.
	outcomeUnreadable = "unreadable"
	outcomeTooLarge   = "too_large"
	outcomeEncoded    = "encoded"
	outcomeBusy       = "busy"
	outcomeCut        = "cut_short"
	outcomeQueue      = "queue_unreachable"
	outcomeOverload   = "overloaded"
	outcomeToken      = "unknown_token"
	outcomeWrongPath  = "wrong_path"
	outcomeThrottled  = "throttled"
	outcomeOff        = "off"
)

// metrics counts deliveries. Senders cannot choose the labels.
type metrics struct {
	deliveries *prometheus.CounterVec
	duration   *prometheus.HistogramVec
}

// newMetrics registers the metrics. Counters start at zero, because Prometheus sees no
// increase in a counter that first appears as 1.
func newMetrics(reg prometheus.Registerer, endpoints []Endpoint) metrics {
	m := metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_deliveries_total",
			Help: "Deliveries received, by protocol and outcome.",
		}, []string{"source", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "klinghook_delivery_duration_seconds",
			Help:    "Time from a delivery's headers to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 14),
		}, []string{"source"}),
	}
	for _, endpoint := range endpoints {
		for _, outcome := range []string{outcomeAccepted, outcomeDuplicate, outcomeSignature, outcomeMalformed, outcomeUnreadable, outcomeBusy, outcomeQueue} {
			m.deliveries.WithLabelValues(endpoint.Protocol.Name, outcome)
		}
	}
	m.deliveries.WithLabelValues(unknownSource, outcomeWrongPath)
	reg.MustRegister(m.deliveries, m.duration)
	return m
}

func (m metrics) observe(source, outcome string, took time.Duration) {
	m.deliveries.WithLabelValues(source, outcome).Inc()
	m.duration.WithLabelValues(source).Observe(took.Seconds())
}
