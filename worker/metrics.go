package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// The outcomes of an attempt.
const (
	outcomeDone     = "done"
	outcomeRetry    = "retry"
	outcomePutOff   = "put_off" // not its turn; costs no attempt
	outcomeHeld     = "held"    // its destination is paused; costs no attempt
	outcomeArchived = "archived"
)

// The outcomes of a look-up.
const (
	lookupFound   = "found"
	lookupUnknown = "unknown"
	lookupUnclear = "unclear" // no usable answer
	lookupFailed  = "failed"  // refused or unreachable; not counted
	lookupLost    = "lost"    // silent for too long; counted in addition to the others
)

type metrics struct {
	attempts *prometheus.CounterVec
	lookups  *prometheus.CounterVec
	expiring prometheus.Gauge
	pruned   *prometheus.CounterVec
	duration *prometheus.HistogramVec
	latency  *prometheus.HistogramVec

	concurrency *prometheus.GaugeVec
	costs       *costCounter
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_task_attempts_total",
			Help: "Attempts at tasks, by kind and outcome.",
		}, []string{"kind", "outcome"}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_lookups_total",
			Help: "Look-ups of jobs at Kling, by outcome.",
		}, []string{"outcome"}),
		expiring: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "klinghook_media_expiring",
			Help: "Files that are not stored and whose links expire soon, as of this worker's last sweep.",
		}),
		pruned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_pruned_total",
			Help: "Finished work that was deleted because it was older than its retention.",
		}, []string{"what"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "klinghook_task_duration_seconds",
			Help:    "Duration of attempts at tasks.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 11),
		}, []string{"kind"}),
	}
	m.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "klinghook_event_latency_seconds",
		Help:    "Time from the receipt of an event until it is recorded, by protocol.",
		Buckets: prometheus.ExponentialBuckets(0.005, 4, 11),
	}, []string{"source"})
	m.costs = newCostCounter()
	m.concurrency = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "klinghook_worker_concurrency",
		Help: "Maximum number of tasks of a queue that this process runs at once.",
	}, []string{"queue"})
	// Counters start at 0: Prometheus sees no increase in a counter that appears as 1.
	for _, policy := range tasks.Policies() {
		for _, outcome := range []string{outcomeDone, outcomeRetry, outcomeArchived, outcomePutOff, outcomeHeld} {
			m.attempts.WithLabelValues(string(policy.Kind), outcome)
		}
	}
	for _, outcome := range []string{lookupFound, lookupUnknown, lookupUnclear, lookupLost} {
		m.lookups.WithLabelValues(outcome)
	}
	m.costs.total.WithLabelValues("unknown", "unit")
	m.countPruned(store.Pruned{})
	reg.MustRegister(m.attempts, m.duration, m.latency, m.concurrency, m.lookups, m.expiring, m.costs.total, m.pruned)
	return m
}

func (m metrics) observe(kind tasks.Kind, outcome string, took time.Duration) {
	m.attempts.WithLabelValues(string(kind), outcome).Inc()
	m.duration.WithLabelValues(string(kind)).Observe(took.Seconds())
}

func (m metrics) countPruned(pruned store.Pruned) {
	for what, n := range map[string]int64{
		"events": pruned.Events, "jobs": pruned.Jobs, "files": pruned.Files, "dead_letters": pruned.DeadLetters, "rejections": pruned.Rejections,
	} {
		m.pruned.WithLabelValues(what).Add(float64(n))
	}
}
