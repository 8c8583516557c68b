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

func (m metrics) observe(source, outcome string, took time.Duration) {
	m.deliveries.WithLabelValues(source, outcome).Inc()
	m.duration.WithLabelValues(source).Observe(took.Seconds())
}
