package ingest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// maxEnqueuing limits the concurrent enqueues.
const maxEnqueuing = 1024

// refusal is an answer other than 200.
type refusal struct {
	status  int
	message string // for the sender
	outcome string
	// reason is for the log. It contains no part of the body or the signature.
	reason error
}

func (r *refusal) Error() string { return r.message }

func unavailable(message, outcome string, reason error) *refusal {
	return &refusal{http.StatusServiceUnavailable, message + "; send it again", outcome, reason}
}

// receiver handles the deliveries of one endpoint and reports each.
func (s *Server) receiver(endpoint Endpoint) echo.HandlerFunc {
	return func(c echo.Context) error {
		start, answer := s.cfg.Now(), `{"received": true}`
		delivery := Delivery{Source: endpoint.Protocol.Name, Status: http.StatusOK, Outcome: outcomeAccepted, Peer: c.Request().RemoteAddr}
		body, refused := s.receive(c, endpoint, start, &delivery)
		switch {
		case refused != nil:
			delivery.Status, delivery.Outcome, delivery.Reason = refused.status, refused.outcome, refused.reason
		case delivery.Duplicate:
			delivery.Outcome = outcomeDuplicate
		case delivery.Type == source.TypeTest:
			delivery.Outcome, answer = outcomeTest, `{"received": true, "test": true}`
		case delivery.Unreadable != nil:
			delivery.Outcome = outcomeUnreadable
		}
		delivery.Took = s.cfg.Now().Sub(start)
		s.metrics.observe(delivery.Source, delivery.Outcome, delivery.Took)
		s.report(delivery)
		s.refusals.note(delivery, endpoint.isSigned(c.Request().Header), start)
		if refused != nil {
			s.sampler.offer(c.Request(), endpoint, body, refused, start)
			return refused
		}
		return c.JSONBlob(http.StatusOK, []byte(answer))
	}
}

// receive reads, verifies, identifies and enqueues one delivery. It returns the part of
// the body that it read.
func (s *Server) receive(c echo.Context, endpoint Endpoint, at time.Time, d *Delivery) (body []byte, _ *refusal) {
	r := c.Request()
	if refused := endpoint.admit(r.Context(), c.Param("token"), at); refused != nil {
		return nil, refused
	}
	body, release, refused := s.bodies.read(c.Response(), r, endpoint.maxBody(s.bodies.max))
	defer release()
	if refused != nil {
		return body, refused
	}
	secret, err := endpoint.Source.Verify(r.Header, body, at)
	if err != nil {
		return body, &refusal{http.StatusUnauthorized, "Invalid signature", outcomeSignature, err}
	}
	// A sender that disconnects must not cancel an event that it sent completely.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.cfg.EnqueueTimeout)
	defer cancel()
	if source.IsTest(body) {
		d.Type = source.TypeTest
		return body, s.answerTest(ctx, tasks.TestDelivery{Source: endpoint.Protocol.Name, At: at.UTC()})
	}
	done, refused := s.bodies.work(ctx, body)
	defer done()
	if refused != nil {
		return body, refused
	}
	identity, err := endpoint.Source.Identify(r.Header, body)
	switch {
	case errors.Is(err, source.ErrUnknownShape):
		d.Unreadable = err // the worker keeps the event as a dead letter
	case err != nil:
		return body, &refusal{http.StatusBadRequest, err.Error(), outcomeMalformed, err}
	}
	event := tasks.Event{
		ID:     tasks.EventID(endpoint.Protocol.Name, identity.SenderID, body),
		Source: endpoint.Protocol.Name, Type: identity.Type, Job: tasks.JobKey{Platform: endpoint.Protocol.Platform, ID: identity.JobID},
		ReceivedAt: at.UTC(), Secret: secret, Headers: keep(r.Header, endpoint.Protocol.Headers), Body: body,
	}
	if identity.Hint != "" {
		event.Body = []byte(identity.Hint)
	}
	d.EventID, d.Type, d.Job = event.ID, event.Type, event.Job
	task, err := tasks.RecordEvent(event)
	if err != nil {
		return body, &refusal{http.StatusInternalServerError, "internal error", outcomeMalformed, err}
	}
	if identity.Hint != "" {
		task = task.Generation(at.UnixMilli()) // a later callback is not a duplicate
	}
	defer s.enqueuing.Add(-1)
	if s.enqueuing.Add(1) > maxEnqueuing {
		return body, unavailable("too many deliveries at once", outcomeOverload, errors.New("too many enqueues under way"))
	}
	ctx, end := s.trace(ctx, event, at)
	task.Trace = tasks.TraceOf(ctx)
	d.Duplicate, err = s.cfg.Queue.Enqueue(ctx, task)
	end(d.Duplicate, err)
	if err != nil {
		return body, unavailable("the event could not be queued", outcomeQueue, err)
	}
	if d.Duplicate && s.cfg.Repeated != nil {
		s.cfg.Repeated(ctx, event.ID, event.ReceivedAt)
	}
	return body, nil
}

// answerTest answers a test delivery as it would answer an event, without keeping it.
func (s *Server) answerTest(ctx context.Context, delivery tasks.TestDelivery) *refusal {
	if s.cfg.Check != nil {
		if err := s.cfg.Check(ctx); err != nil {
			return unavailable("an event could not be queued", outcomeQueue, err)
		}
	}
	if s.cfg.Tested != nil {
		s.cfg.Tested(ctx, delivery)
	}
	return nil
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
