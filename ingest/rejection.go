package ingest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// samplesPerSecond and samplesAtOnce bound how many refused deliveries are
	// handed on: a flood of them costs the queue no more than that.
	samplesPerSecond = 3
	samplesAtOnce    = 10
	// sampleBody is how much of a refused body is handed on, in bytes.
	sampleBody = 4 << 10
	// sampleHeader is how much of a header's value is, in bytes.
	sampleHeader = 256
)

// sampler hands a few refused deliveries a second on to the queue, beside the
// answering of others.
type sampler struct {
	queue   Queue
	log     *zap.Logger
	limiter *rate.Limiter
	waiting chan tasks.Rejection

	// cancel ends the handing on, and ended is closed when it has; both are nil
	// until start.
	cancel context.CancelFunc
	ended  chan struct{}
}

func newSampler(queue Queue, log *zap.Logger) *sampler {
	return &sampler{queue: queue, log: log, limiter: rate.NewLimiter(samplesPerSecond, samplesAtOnce), waiting: make(chan tasks.Rejection, samplesAtOnce)}
}

// offer takes a refused delivery as a sample, unless there were enough of late. It
// never waits.
func (s *sampler) offer(r *http.Request, e Endpoint, body []byte, refused *refusal, at time.Time) {
	// A sample is not worth a place in a queue that takes no events.
	if refused.outcome == outcomeQueue || refused.outcome == outcomeOverload || !s.limiter.AllowN(at, 1) {
		return
	}
	sample := tasks.Rejection{
		ID: "rej_" + rand.Text(), ReceivedAt: at.UTC(), Source: e.Protocol.Name, Reason: refused.outcome, Peer: r.RemoteAddr,
		Headers: withoutSecrets(r.Header, e), Body: slices.Clone(body[:min(len(body), sampleBody)]),
	}
	if refused.reason != nil {
		sample.Detail = refused.reason.Error()
	}
	select {
	case s.waiting <- sample:
	default: // the queue is slow, and events are worth more than samples
	}
}

// start begins to hand samples on.
func (s *sampler) start(ctx context.Context, timeout time.Duration) {
	ctx, s.cancel = context.WithCancel(ctx)
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		s.run(ctx, timeout)
	}()
}

// close ends it. Samples that wait are dropped.
func (s *sampler) close() {
	if s.cancel != nil {
		s.cancel()
		<-s.ended
	}
}

func (s *sampler) run(ctx context.Context, timeout time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case sample := <-s.waiting:
			if err := s.handOn(ctx, sample, timeout); err != nil {
				s.log.Debug("refused delivery not kept", zap.Error(err))
			}
		}
	}
}

func (s *sampler) handOn(ctx context.Context, sample tasks.Rejection, timeout time.Duration) error {
	task, err := tasks.KeepRejection(sample)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err = s.queue.Enqueue(ctx, task)
	return err
}

// withoutSecrets copies headers, those that may hold a credential or a signature, or
// in which a proxy tells the path to the endpoint with its token, only as their
// length, and long ones cut.
func withoutSecrets(header http.Header, e Endpoint) map[string]string {
	kept := make(map[string]string, len(header))
	for name, values := range header {
		value := strings.Join(values, ", ")
		switch {
		case secretHeader(name), e.tells(value):
			value = fmt.Sprintf("(%d bytes)", len(value))
		case len(value) > sampleHeader:
			value = value[:sampleHeader] + "…"
		}
		kept[name] = strings.ToValidUTF8(value, "\uFFFD")
	}
	return kept
}

// tells reports whether a text has one of the endpoint's tokens, or one that was meant
// to be.
func (e Endpoint) tells(text string) bool {
	if len(e.Tokens) == 0 {
		return false
	}
	before, _, _ := strings.Cut(e.Protocol.Path, ":")
	return strings.Contains(text, before) || slices.ContainsFunc(e.Tokens, func(token string) bool { return strings.Contains(text, token) })
}

// secretHeader reports whether a header's value is not for others to see. Unknown
// senders have unknown headers, so a word in the name is enough.
func secretHeader(name string) bool {
	name = strings.ToLower(name)
	words := []string{"auth", "bearer", "cookie", "credential", "csrf", "hmac", "jwt", "key", "pass", "secret", "session", "sig", "token", "xsrf"}
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(name, word) })
}
