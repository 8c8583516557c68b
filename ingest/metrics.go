package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts deliveries. Labels take a few set values only: nothing that a
// sender chooses.
type metrics struct {
	deliveries *prometheus.CounterVec
	duration   *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_deliveries_total",
			Help: "Deliveries received, by protocol and by what became of them.",
		}, []string{"source", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "klinghook_delivery_duration_seconds",
			Help:    "Time from a delivery's headers to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 14),
		}, []string{"source"}),
	}
	reg.MustRegister(m.deliveries, m.duration)
	return m
}

// of returns the metrics of one protocol.
func (m metrics) of(source string) protocolMetrics {
	deliveries := m.deliveries.MustCurryWith(prometheus.Labels{"source": source})
	return protocolMetrics{
		deliveries: deliveries, duration: m.duration.WithLabelValues(source),
		accepted: deliveries.WithLabelValues(outcomeAccepted), duplicate: deliveries.WithLabelValues(outcomeDuplicate),
	}
}

// protocolMetrics count the deliveries of one protocol. Those of the outcomes that
// are to be expected are looked up once and for all.
type protocolMetrics struct {
	deliveries          *prometheus.CounterVec
	duration            prometheus.Observer
	accepted, duplicate prometheus.Counter
}

func (m protocolMetrics) observe(outcome string, took time.Duration) {
	switch outcome {
	case outcomeAccepted:
		m.accepted.Inc()
	case outcomeDuplicate:
		m.duplicate.Inc()
	default:
		m.deliveries.WithLabelValues(outcome).Inc()
	}
	m.duration.Observe(took.Seconds())
}

// announce makes an endpoint's counters be there before they count: what begins at one
// has not increased, as far as Prometheus can tell.
func (m metrics) announce(source string) {
	for _, outcome := range []string{outcomeAccepted, outcomeDuplicate, outcomeSignature, outcomeMalformed, outcomeBusy, outcomeQueue} {
		m.deliveries.WithLabelValues(source, outcome)
	}
}
