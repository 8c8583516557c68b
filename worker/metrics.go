package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/klinghook/klinghook/tasks"
)

// The outcomes of an attempt.
const (
	outcomeDone     = "done"
	outcomeRetry    = "retry"
	outcomeArchived = "archived"
)

type metrics struct {
	attempts *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_task_attempts_total",
			Help: "Attempts at tasks, by kind and by how they ended.",
		}, []string{"kind", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "klinghook_task_duration_seconds",
			Help:    "Duration of attempts at tasks.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 11),
		}, []string{"kind"}),
	}
	reg.MustRegister(m.attempts, m.duration)
	return m
}

func (m metrics) observe(kind tasks.Kind, outcome string, took time.Duration) {
	m.attempts.WithLabelValues(string(kind), outcome).Inc()
	m.duration.WithLabelValues(string(kind)).Observe(took.Seconds())
}
