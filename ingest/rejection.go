package ingest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// samplesPerSecond and samplesAtOnce bound how many refused deliveries are enqueued.
	samplesPerSecond = 3
	samplesAtOnce    = 10
	// sampleBody and sampleHeader are how much of a body and of a header's value a sample
	// contains, in bytes.
	sampleBody   = 4 << 10
	sampleHeader = 256
)

// secretWords are parts of the names of headers whose values are secret.
var secretWords = []string{"auth", "bearer", "cookie", "credential", "csrf", "hmac", "jwt", "key", "pass", "secret", "session", "sig", "token", "xsrf"}

// sampler enqueues a few refused deliveries per second in the background.
type sampler struct {
	queue   Queue
	log     *zap.Logger
	limiter *rate.Limiter
	waiting chan tasks.Rejection
	stop    context.CancelFunc
	running sync.WaitGroup
}

func newSampler(queue Queue, log *zap.Logger) *sampler {
	return &sampler{
		queue: queue, log: log, stop: func() {},
		limiter: rate.NewLimiter(samplesPerSecond, samplesAtOnce), waiting: make(chan tasks.Rejection, samplesAtOnce),
	}
}

// offer samples a refused delivery, unless there were enough lately. It never waits.
func (s *sampler) offer(r *http.Request, e Endpoint, body []byte, refused *refusal, at time.Time) {
	// A queue that does not take events does not need samples.
	if refused.outcome == outcomeQueue || refused.outcome == outcomeOverload || !s.limiter.AllowN(at, 1) {
		return
	}
	sample := tasks.Rejection{
		ID: "rej_" + rand.Text(), ReceivedAt: at.UTC(), Source: e.Protocol.Name, Reason: refused.outcome, Peer: r.RemoteAddr,
		Detail: refused.reason.Error(), Headers: withoutSecrets(r.Header, e), Body: slices.Clone(body[:min(len(body), sampleBody)]),
	}
	select {
	case s.waiting <- sample:
	default: // the queue is slow
	}
}

// start enqueues samples until close. Those that wait then are dropped.
func (s *sampler) start(ctx context.Context, timeout time.Duration) {
	ctx, s.stop = context.WithCancel(ctx)
	s.running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sample := <-s.waiting:
				if err := s.enqueue(ctx, sample, timeout); err != nil {
					s.log.Debug("refused delivery not kept", zap.Error(err))
				}
			}
		}
	})
}

func (s *sampler) close() {
	s.stop()
	s.running.Wait()
}

func (s *sampler) enqueue(ctx context.Context, sample tasks.Rejection, timeout time.Duration) error {
	task, err := tasks.KeepRejection(sample)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err = s.queue.Enqueue(ctx, task)
	return err
}

// withoutSecrets copies headers. Of those that may contain a credential, a signature, or
// the endpoint's path with its token (from a proxy), it keeps only the length.
func withoutSecrets(header http.Header, e Endpoint) map[string]string {
	kept := make(map[string]string, len(header))
	for name, values := range header {
		value, lower := strings.Join(values, ", "), strings.ToLower(name)
		switch {
		case slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(lower, word) }), e.reveals(value):
			value = fmt.Sprintf("(%d bytes)", len(value))
		case len(value) > sampleHeader:
			value = value[:sampleHeader] + "…"
		}
		kept[name] = strings.ToValidUTF8(value, "\uFFFD")
	}
	return kept
}

// reveals reports whether a text contains one of the endpoint's tokens, or its path,
// which a token follows.
func (e Endpoint) reveals(text string) bool {
	if len(e.Tokens) == 0 {
		return false
	}
	before, _, _ := strings.Cut(e.Protocol.Path, ":")
	return strings.Contains(text, before) || slices.ContainsFunc(e.Tokens, func(token string) bool { return strings.Contains(text, token) })
}
