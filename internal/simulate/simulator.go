package simulate

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// postsAtOnce bounds the callbacks that are being posted.
	postsAtOnce = 64
	// postTimeout is how long a receiver may take to answer.
	postTimeout = 10 * time.Second
	// closeGrace is how long Close waits for callbacks that are being posted.
	closeGrace = 2 * time.Second
)

// Simulator is a fake Kling. It is safe for concurrent use.
type Simulator struct {
	cfg     Config
	mux     *http.ServeMux
	linkKey []byte
	lookups *rate.Limiter
	calls   atomic.Uint64 // numbers the calls of the API

	client *http.Client
	slots  chan struct{} // one for each callback that is being posted
	posts  sync.WaitGroup
	// No post begins after stopping is done, and none continues after posting is.
	stopping, posting context.Context
	stop, cut         context.CancelFunc

	mu       sync.Mutex      // guards the fields below
	jobs     map[string]*job // by id
	external map[string]*job // by external id
	finished []*job          // nothing more happens to them; oldest first
	stats    Stats
}

// New returns a Simulator without jobs. It sends callbacks until ctx ends or Close is
// called.
func New(ctx context.Context, cfg Config) (*Simulator, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	if cfg.Transport == nil {
		transport, ok := http.DefaultTransport.(*http.Transport)
		if !ok {
			transport = &http.Transport{}
		}
		transport = transport.Clone()
		transport.MaxIdleConnsPerHost = postsAtOnce
		cfg.Transport = transport
	}
	simulator := &Simulator{
		cfg: cfg, linkKey: make([]byte, 32), lookups: rate.NewLimiter(rate.Inf, 1), slots: make(chan struct{}, postsAtOnce),
		client: &http.Client{
			Transport: cfg.Transport, Timeout: postTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		jobs: make(map[string]*job), external: make(map[string]*job), stats: Stats{Refused: make(map[string]int)},
	}
	_, _ = rand.Read(simulator.linkKey) // never fails
	if cfg.LookupRate > 0 {
		simulator.lookups = rate.NewLimiter(rate.Limit(cfg.LookupRate), max(1, int(cfg.LookupRate)))
	}
	simulator.stopping, simulator.stop = context.WithCancel(ctx)
	simulator.posting, simulator.cut = context.WithCancel(context.WithoutCancel(ctx))
	simulator.mux = simulator.routes()
	return simulator, nil
}

// Close stops sending callbacks and waits a moment for those that are being posted. It
// may be called more than once.
func (s *Simulator) Close() {
	s.mu.Lock() // no post begins from here on
	s.stop()
	s.mu.Unlock()
	defer time.AfterFunc(closeGrace, s.cut).Stop()
	s.posts.Wait()
	s.cut()
	s.client.CloseIdleConnections()
}

// ServeHTTP answers like Kling's API, and serves the media.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// sleep waits for a time, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
