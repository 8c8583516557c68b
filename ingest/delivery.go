package ingest

import (
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/tasks"
)

// Delivery describes one inbound request and its answer.
type Delivery struct {
	// Source names the protocol, or is "unknown".
	Source string
	// Status is the HTTP status of the answer, Outcome the result's label in the metrics.
	Status  int
	Outcome string
	// Reason is why the delivery was refused, else nil. It contains no part of the body or
	// the signature.
	Reason error
	// EventID, Type and Job are the event's, if it was verified. Duplicate reports that the
	// event was already queued.
	EventID, Type string
	Job           tasks.JobKey
	Duplicate     bool
	// Unreadable is why a signed body could not be interpreted, else nil. Its event is kept.
	Unreadable error
	// Peer is the sender's address, host:port.
	Peer string
	Took time.Duration
}

// report passes a delivery to the observer, or else logs it. Refusals that strangers can
// cause are sampled.
func (s *Server) report(delivery Delivery) {
	switch {
	case s.cfg.Observe != nil:
		s.cfg.Observe(delivery)
	case delivery.Unreadable != nil:
		s.cfg.Log.Warn("delivery kept, but not understood", zap.String("source", delivery.Source), zap.String("event_id", delivery.EventID),
			zap.Bool("duplicate", delivery.Duplicate), zap.Duration("duration", delivery.Took), zap.NamedError("error", delivery.Unreadable))
	case delivery.Reason == nil:
		s.cfg.Log.Info("delivery accepted", zap.String("source", delivery.Source), zap.String("event_id", delivery.EventID), zap.String("type", delivery.Type),
			zap.Stringer("job_id", delivery.Job), zap.Bool("duplicate", delivery.Duplicate), zap.Duration("duration", delivery.Took))
	default:
		log := s.refusedLog
		if delivery.Outcome == outcomeQueue {
			log = s.cfg.Log
		}
		log.Warn("delivery refused", zap.String("source", delivery.Source), zap.String("outcome", delivery.Outcome), zap.Int("status", delivery.Status),
			zap.String("peer", delivery.Peer), zap.Duration("duration", delivery.Took), zap.NamedError("error", delivery.Reason))
	}
}
