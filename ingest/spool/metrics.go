package spool

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
)

type metrics struct {
	puts    *prometheus.CounterVec
	drained prometheus.Counter
}

// newMetrics registers the metrics of a Queue; without a spool only the breaker's.
func newMetrics(reg prometheus.Registerer, q *Queue) metrics {
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("klinghook_breaker_open", "1 while Redis is not used because it fails or is nearly full, else 0.", func() float64 {
		if q.breaker.State() == gobreaker.StateClosed {
			return 0
		}
		return 1
	})
	m := metrics{
		puts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_spool_put_total",
			Help: "Events that went to the spool, by outcome.",
		}, []string{"outcome"}),
		drained: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "klinghook_spool_drained_total",
			Help: "Events that this process handed over from the spool.",
		}),
	}
	if q.dir == nil {
		return m
	}
	for _, outcome := range []string{"stored", "full", "error"} {
		m.puts.WithLabelValues(outcome)
	}
	reg.MustRegister(m.puts, m.drained)
	gauge("klinghook_spool_events", "Events in the spool.", func() float64 { return float64(q.used().events) })
	gauge("klinghook_spool_bytes", "Disk space that the spool's events occupy.", func() float64 { return float64(q.used().bytes) })
	gauge("klinghook_spool_oldest_age_seconds", "Age of the oldest event in the spool.", func() float64 { return q.used().age().Seconds() })
	return m
}

// age returns how long the oldest event has been in the spool.
func (u usage) age() time.Duration {
	if u.events == 0 {
		return 0
	}
	return max(time.Since(u.oldest), 0)
}

// Detail returns what /readyz shows about the spool.
func (q *Queue) Detail() map[string]any {
	if q.dir == nil {
		return nil
	}
	usage := q.used()
	return map[string]any{"spool": map[string]any{"events": usage.events, "bytes": usage.bytes, "oldest_age_seconds": math.Round(usage.age().Seconds())}}
}

// Percent returns how much of the spool is in use; 0 without one.
func (q *Queue) Percent() int { return int(100 * q.used().bytes / q.cfg.MaxBytes) }

// Check returns why an event would probably be refused now. It does no I/O. A spool counts
// as full when less than 1 % is left.
func (q *Queue) Check(context.Context) error {
	switch {
	case q.breaker.State() == gobreaker.StateClosed:
		return nil
	case q.dir == nil:
		return q.downError()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.usage.bytes > q.cfg.MaxBytes-q.cfg.MaxBytes/100:
		return fmt.Errorf("%w: %d events, %d bytes, the oldest %v old", ErrFull, q.usage.events, q.usage.bytes, q.usage.age())
	case q.writeErr != nil && time.Since(q.writeErrAt) < 10*time.Second: // without deliveries nothing clears it
		return fmt.Errorf("write to the spool: %w", q.writeErr)
	}
	return nil
}
