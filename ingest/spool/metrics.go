package spool

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// The outcomes of keeping an event in the spool, as the metrics name them.
const (
	outcomeStored = "stored"
	outcomeFull   = "full"
	outcomeError  = "error"
)

type metrics struct {
	puts    *prometheus.CounterVec
	drained prometheus.Counter
}

// newQueueMetrics registers the queue's metrics; without a spool only the
// breaker's.
func newQueueMetrics(reg prometheus.Registerer, q *Queue) metrics {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "klinghook_breaker_open",
		Help: "1 while the queue is left alone because it does not answer, else 0.",
	}, func() float64 {
		if q.Status().Open {
			return 1
		}
		return 0
	}))
	if q.cfg.Spool == nil {
		return metrics{}
	}
	return newSpoolMetrics(reg, q.Status)
}

// newSpoolMetrics registers what there is to know of a spool.
func newSpoolMetrics(reg prometheus.Registerer, status func() Status) metrics {
	gauge := func(name, help string, value func(Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(status()) })
	}
	m := metrics{
		puts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_spool_put_total",
			Help: "Events that went to the spool, by what became of it.",
		}, []string{"outcome"}),
		drained: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "klinghook_spool_drained_total",
			Help: "Events that left the spool because they are kept elsewhere.",
		}),
	}
	for _, outcome := range []string{outcomeStored, outcomeFull, outcomeError} {
		m.puts.WithLabelValues(outcome)
	}
	reg.MustRegister(m.puts, m.drained,
		gauge("klinghook_spool_events", "Events in the spool.", func(s Status) float64 { return float64(s.Spool.Events) }),
		gauge("klinghook_spool_bytes", "Size of the events in the spool.", func(s Status) float64 { return float64(s.Spool.Bytes) }),
		gauge("klinghook_spool_oldest_age_seconds", "How long the oldest event has been in the spool.", func(s Status) float64 { return s.OldestAge.Seconds() }),
	)
	return m
}

// outcomeOf names how a Put ended.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return outcomeStored
	case errors.Is(err, ErrFull):
		return outcomeFull
	}
	return outcomeError
}

func (m metrics) put(outcome string) { m.puts.WithLabelValues(outcome).Inc() }
