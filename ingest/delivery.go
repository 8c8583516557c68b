package ingest

import (
	"time"

	"go.uber.org/zap"
)

// Delivery is what is told of one inbound request once its answer is known.
type Delivery struct {
	// Source names the protocol.
	Source string
	// Status is the answer's, and Outcome how the metrics name it.
	Status  int
	Outcome string
	// Reason is why it was refused, without anything of the body or the signature; nil
	// when it was not.
	Reason error
	// EventID, Type and JobID are the event's, as far as it was verified. Duplicate says
	// that it was queued already.
	EventID, Type, JobID string
	Duplicate            bool
	// Peer is who sent it: host:port.
	Peer string
	Took time.Duration
}

// teller returns what tells of an endpoint's deliveries: the one who observes, or
// else the log, with a line for each.
func (s *Server) teller(e Endpoint) func(Delivery) {
	if s.observe != nil {
		return s.observe
	}
	log := s.log.With(zap.String("source", e.Protocol.Name))
	rejectLog := s.rejectLog.With(zap.String("source", e.Protocol.Name))
	return func(d Delivery) {
		if d.Status < 300 {
			log.Info("delivery accepted", zap.String("event_id", d.EventID), zap.String("type", d.Type), zap.String("job_id", d.JobID),
				zap.Bool("duplicate", d.Duplicate), zap.Duration("duration", d.Took))
			return
		}
		to := rejectLog
		if d.Outcome == outcomeQueue {
			to = log
		}
		to.Warn("delivery refused", zap.String("outcome", d.Outcome), zap.Int("status", d.Status),
			zap.String("peer", d.Peer), zap.Duration("duration", d.Took), zap.NamedError("error", d.Reason))
	}
}
