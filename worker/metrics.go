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
	outcomePutOff   = "put_off" // not its turn; no attempt
	outcomeArchived = "archived"
)

// The outcomes of a look-up: Kling told of the job, does not know it, gave no clear
// answer; and that a job was lost after it.
const (
	lookupFound   = "found"
	lookupUnknown = "unknown"
	lookupUnclear = "unclear"
	lookupLost    = "lost"
)

type metrics struct {
	attempts *prometheus.CounterVec
	lookups  *prometheus.CounterVec
	expiring prometheus.Gauge
	duration *prometheus.HistogramVec
	latency  *prometheus.HistogramVec

	concurrency *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_task_attempts_total",
			Help: "Attempts at tasks, by kind and by how they ended.",
		}, []string{"kind", "outcome"}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_lookups_total",
			Help: "Jobs that Kling was asked about, by what came of it.",
		}, []string{"outcome"}),
		expiring: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "klinghook_media_expiring",
			Help: "Files that are not stored yet and whose links die soon, as the worker that swept last saw it.",
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "klinghook_task_duration_seconds",
			Help:    "Duration of attempts at tasks.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 11),
		}, []string{"kind"}),
	}
	m.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "klinghook_event_latency_seconds",
		Help:    "Time from an event's receipt to its being recorded, by protocol.",
		Buckets: prometheus.ExponentialBuckets(0.005, 4, 11),
	}, []string{"source"})
	m.concurrency = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "klinghook_worker_concurrency",
		Help: "Tasks of a queue that this process runs at once, at most.",
	}, []string{"queue"})
	// Counters are there before they count: what begins at one has not increased.
	for _, p := range tasks.Policies() {
		for _, outcome := range []string{outcomeDone, outcomeRetry, outcomeArchived, outcomePutOff} {
			m.attempts.WithLabelValues(string(p.Kind), outcome)
		}
	}
	for _, outcome := range []string{lookupFound, lookupUnknown, lookupUnclear, lookupLost} {
		m.lookups.WithLabelValues(outcome)
	}
	reg.MustRegister(m.attempts, m.duration, m.latency, m.concurrency, m.lookups, m.expiring)
	return m
}

func (m metrics) observe(kind tasks.Kind, outcome string, took time.Duration) {
	m.attempts.WithLabelValues(string(kind), outcome).Inc()
	m.duration.WithLabelValues(string(kind)).Observe(took.Seconds())
}
