package ingest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/klinghook/klinghook/tasks"
)

// The outcomes of a delivery, as the log and the metrics name them.
const (
	outcomeAccepted  = "accepted"
	outcomeDuplicate = "duplicate"
	outcomeSignature = "invalid_signature"
	outcomeMalformed = "malformed"
	outcomeTooLarge  = "too_large"
	outcomeEncoded   = "encoded"
	outcomeBusy      = "busy"
	outcomeCut       = "cut_short"
	outcomeQueue     = "queue_unreachable"
	outcomeOverload  = "overloaded"
	outcomeToken     = "unknown_token"
	outcomeOff       = "off"
)

// receiver handles the deliveries of one endpoint and tells of each.
func (s *Server) receiver(e Endpoint) echo.HandlerFunc {
	tell := s.teller(e)
	counted := s.metrics.of(e.Protocol.Name)
	received := []byte(`{"received": true}`)
	return func(c echo.Context) error {
		start := s.now()
		var body []byte
		var ev tasks.Event
		var duplicate bool
		refused := e.admit(c.Request().Context(), c.Param("token"))
		if refused == nil {
			body, ev, duplicate, refused = s.receive(c.Response(), c.Request(), e, start)
		}
		d := Delivery{Source: e.Protocol.Name, Status: http.StatusOK, Outcome: outcomeAccepted, Peer: c.Request().RemoteAddr, Took: s.now().Sub(start)}
		switch {
		case refused != nil:
			d.Status, d.Outcome, d.Reason = refused.status, refused.outcome, refused.reason
		case duplicate:
			d.Outcome = outcomeDuplicate
		}
		d.EventID, d.Type, d.JobID, d.Duplicate = ev.ID, ev.Type, ev.JobID, duplicate
		counted.observe(d.Outcome, d.Took)
		tell(d)
		if refused != nil {
			s.sampler.offer(c.Request(), e, body, refused, start)
			return refused
		}
		return c.JSONBlob(http.StatusOK, received)
	}
}

// receive takes one delivery as far as the queue. It returns the body as far as it
// was read.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, e Endpoint, at time.Time) (body []byte, ev tasks.Event, duplicate bool, _ *refusal) {
	body, release, refused := s.bodies.read(w, r)
	defer release()
	if refused != nil {
		return body, ev, false, refused
	}
	ev, duplicate, refused = s.take(r, e, body, at)
	return body, ev, duplicate, refused
}

// take verifies, names and enqueues a delivery whose body was read.
func (s *Server) take(r *http.Request, e Endpoint, body []byte, at time.Time) (ev tasks.Event, duplicate bool, _ *refusal) {
	secret, err := e.Source.Verify(r.Header, body, at)
	if err != nil {
		return ev, false, &refusal{http.StatusUnauthorized, "Invalid signature", outcomeSignature, err}
	}
	endWork, refused := s.bodies.begin(r.Context(), body)
	defer endWork()
	if refused != nil {
		return ev, false, refused
	}
	identity, err := e.Source.Identify(r.Header, body)
	if err != nil {
		return ev, false, &refusal{http.StatusBadRequest, err.Error(), outcomeMalformed, err}
	}
	ev = tasks.Event{
		ID:     tasks.EventID(e.Protocol.Name, identity.SenderID, body),
		Source: e.Protocol.Name, Type: identity.Type, JobID: identity.JobID,
		ReceivedAt: at.UTC(), Secret: secret, Headers: keep(r.Header, e.Protocol.Headers), Body: body,
	}
	task, err := tasks.RecordEvent(ev)
	if err != nil {
		return ev, false, &refusal{http.StatusInternalServerError, "internal error", outcomeMalformed, err}
	}
	// The sender's going away must not take back an event that it has sent whole.
	limited, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.enqueueTimeout)
	defer cancel()
	ctx, end := s.begin(limited, ev, at)
	if s.tracer != nil {
		task.Trace = tasks.TraceOf(ctx)
	}
	defer s.enqueuing.Add(-1)
	if s.enqueuing.Add(1) > maxEnqueuing {
		return ev, false, &refusal{http.StatusServiceUnavailable, "too many deliveries at once; send it again", outcomeOverload, errors.New("too many enqueues under way")}
	}
	duplicate, err = s.queue.Enqueue(ctx, task)
	end(duplicate, err)
	if err != nil {
		return ev, false, &refusal{http.StatusServiceUnavailable, "the event could not be queued; send it again", outcomeQueue, err}
	}
	return ev, duplicate, nil
}

// keep copies the named headers.
func keep(header http.Header, names []string) map[string]string {
	kept := make(map[string]string, len(names))
	for _, name := range names {
		if values := header.Values(name); len(values) > 0 {
			kept[http.CanonicalHeaderKey(name)] = strings.Join(values, ", ")
		}
	}
	return kept
}
