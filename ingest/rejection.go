package ingest

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
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
	// samplesPerSecond and samplesAtOnce limit how many refused deliveries are enqueued.
	samplesPerSecond = 3
	samplesAtOnce    = 10
	// sampleDetail, sampleValue and sampleName limit the reason, and each header's value and
	// name in a sample, in bytes. sampleHeaders limits the number of headers. A sample is at
	// most 32 KiB of JSON.
	sampleDetail  = 1 << 10
	sampleValue   = 256
	sampleName    = 64
	sampleHeaders = 32
)

// secretWords are parts of the names of headers whose values are secret.
var secretWords = []string{"auth", "bearer", "cookie", "credential", "csrf", "hmac", "jwt", "key", "pass", "secret", "session", "sig", "token", "xsrf"}

// sampler enqueues a few refused deliveries per second in the background.
type sampler struct {
	queue   Enqueuer
	log     *zap.Logger
	limiter *rate.Limiter
	waiting chan tasks.Rejection
	stop    context.CancelFunc
	running sync.WaitGroup
}

func newSampler(queue Enqueuer, log *zap.Logger) *sampler {
	return &sampler{
		queue: queue, log: log, stop: func() {},
		limiter: rate.NewLimiter(samplesPerSecond, samplesAtOnce), waiting: make(chan tasks.Rejection, samplesAtOnce),
	}
}

// offer samples a refused delivery, unless there were enough recently. It never blocks.
func (s *sampler) offer(r *http.Request, endpoint Endpoint, body []byte, refused *refusal, at time.Time) {
	// Add no samples to a queue that is down or overloaded.
	if refused.outcome == outcomeQueue || refused.outcome == outcomeOverload || !s.limiter.AllowN(at, 1) {
		return
	}
	sample := tasks.Rejection{
		ID: "rej_" + rand.Text(), ReceivedAt: at.UTC(), Source: endpoint.Protocol.Name, Reason: refused.outcome, Peer: r.RemoteAddr,
		Detail: cut(refused.reason.Error(), sampleDetail), Headers: withoutSecrets(r.Header, endpoint), Body: slices.Clone(body[:min(len(body), tasks.MaxRejectionBody)]),
	}
	select {
	case s.waiting <- sample:
	default: // the queue is slow
	}
}

// start enqueues samples until close, which drops those still waiting.
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

// withoutSecrets copies the first sampleHeaders headers by name. A value that may contain
// a credential, a signature, or the endpoint's path with its token (from a proxy) is
// replaced by its length.
func withoutSecrets(header http.Header, endpoint Endpoint) map[string]string {
	names := slices.Sorted(maps.Keys(header))
	kept := make(map[string]string, sampleHeaders)
	for _, name := range names[:min(len(names), sampleHeaders)] {
		value, lower := strings.Join(header[name], ", "), strings.ToLower(name)
		switch {
		case slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(lower, word) }), endpoint.reveals(value):
			value = fmt.Sprintf("(%d bytes)", len(value))
		default:
			value = cut(value, sampleValue)
		}
		kept[cut(name, sampleName)] = value
	}
	return kept
}

// cut shortens a text to length bytes.
func cut(text string, length int) string {
	if len(text) > length {
		text = text[:length] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// reveals reports whether a text contains one of the endpoint's tokens, or the path before one.
func (e Endpoint) reveals(text string) bool {
	if len(e.Tokens) == 0 {
		return false
	}
	before, _, _ := strings.Cut(e.Protocol.Path, ":")
	return strings.Contains(text, before) || slices.ContainsFunc(e.Tokens, func(token string) bool { return strings.Contains(text, token) })
}
