package ingest

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// unavailableEnds and signatureEnds are how long after its last refusal a series ends.
	unavailableEnds = 10 * time.Minute
	signatureEnds   = 24 * time.Hour
)

// refusals keeps the series of refused deliveries that an operator should know about: answers
// of 503, and wrong signatures without a right one in between. Strangers who do not sign
// do not count.
type refusals struct {
	mu     sync.Mutex // guards series
	series map[refusalKey]*refusalSeries
}

type refusalKey struct{ source, reason string }

type refusalSeries struct {
	count       int
	first, last time.Time
}

// note counts a delivery.
func (r *refusals) note(delivery Delivery, signed bool, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := refusalKey{delivery.Source, delivery.Outcome}
	switch delivery.Outcome {
	case outcomeAccepted, outcomeDuplicate, outcomeTest:
		delete(r.series, refusalKey{delivery.Source, outcomeSignature})
		return
	case outcomeSignature:
		if !signed {
			return
		}
	case outcomeQueue, outcomeOverload, outcomeBusy, outcomeOff:
	default:
		return
	}
	if r.series == nil {
		r.series = map[refusalKey]*refusalSeries{}
	}
	series := r.series[key]
	if series == nil || at.Sub(series.last) > lifeOf(key.reason) {
		series = &refusalSeries{first: at}
		r.series[key] = series
	}
	series.count++
	series.last = at
}

// lifeOf returns how long a series lasts without a new refusal.
func lifeOf(reason string) time.Duration {
	if reason == outcomeSignature {
		return signatureEnds
	}
	return unavailableEnds
}

// Refused returns the series of refused deliveries that an operator should know about.
func (s *Server) Refused() []tasks.Refusal { return s.refusals.list(s.cfg.Now()) }

// list returns the series that have not ended.
func (r *refusals) list(at time.Time) (list []tasks.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, series := range r.series {
		if at.Sub(series.last) > lifeOf(key.reason) {
			delete(r.series, key)
			continue
		}
		list = append(list, tasks.Refusal{Source: key.source, Reason: key.reason, Count: series.count, Lasted: series.last.Sub(series.first)})
	}
	slices.SortFunc(list, func(a, b tasks.Refusal) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// isSigned reports whether a request has a header of the endpoint's signature.
func (e Endpoint) isSigned(header http.Header) bool {
	return slices.ContainsFunc(e.Protocol.Headers, func(name string) bool { return header.Get(name) != "" })
}
