package simulate

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Simulator is a Kling. It is safe for concurrent use.
type Simulator struct {
	cfg      Config
	mux      *http.ServeMux
	book     *book
	webhooks *webhooks
	courier  *courier
	links    links
	count    *counters
	lookups  *rate.Limiter
	sign     map[Protocol]signer
	// calls counts the calls of the API, which are known by their numbers.
	calls atomic.Uint64
	close sync.Once
}

// New checks the Config and makes a Simulator that has no jobs. It answers at
// once; callbacks are sent once it is started.
func New(cfg Config) (*Simulator, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	s := &Simulator{
		cfg: cfg, book: newBook(cfg), webhooks: newWebhooks(), links: newLinks(cfg.LinkTTL), count: newCounters(),
		lookups: rate.NewLimiter(rate.Inf, 1), sign: map[Protocol]signer{Seed: signNothing, Official: signNothing, OfficialLegacy: signNothing},
	}
	if cfg.LookupRate > 0 {
		s.lookups = rate.NewLimiter(rate.Limit(cfg.LookupRate), max(1, int(cfg.LookupRate)))
	}
	if cfg.SeedSecret != "" && !cfg.Unsigned {
		s.sign[Seed] = seedSigner(cfg.SeedSecret)
	}
	if cfg.OfficialSecret != "" && !cfg.Unsigned {
		sign, err := officialSigner(cfg.OfficialSecret)
		if err != nil {
			return nil, fmt.Errorf("simulate: %w", err)
		}
		s.sign[Official], s.sign[OfficialLegacy] = sign, sign
	}
	s.courier = newCourier(cfg, s.count, s.links, func(cb *callback) { s.book.settle(cb.job, 1) })
	s.mux = s.routes()
	return s, nil
}

// Start sends callbacks as they fall due, until ctx ends or Close is called. It is
// called once.
func (s *Simulator) Start(ctx context.Context) { s.courier.start(ctx) }

// Close sends no more callbacks, waits a moment for those under way, and leaves
// no goroutine behind. It may be called more than once, and without Start.
func (s *Simulator) Close() { s.close.Do(s.courier.close) }

// ServeHTTP answers as Kling's API, and serves the media.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// take accepts an order and plans all that will come of it.
func (s *Simulator) take(o order) (*job, *fault) {
	now := time.Now()
	var plan []*callback
	j, refused := s.book.add(o, now, func(j *job) int {
		for _, r := range s.receivers(j) {
			plan = append(plan, s.cfg.callbacks(j, r, s.count)...)
		}
		return len(plan)
	})
	if refused != nil {
		return nil, refused
	}
	for _, cb := range plan {
		s.courier.plan(cb)
	}
	s.courier.agenda.add(j.end().at, func() { s.book.settle(j, 1) })
	return j, nil
}

// receivers returns whom a job tells of itself: its callback_url, and the
// webhooks there are.
func (s *Simulator) receivers(j *job) []*receiver {
	receivers := s.webhooks.active(s.cfg.Unsigned)
	if j.callbackURL == "" {
		return receivers
	}
	protocol := s.cfg.Protocol
	switch {
	case protocol != AsCreated:
	case j.form == newForm:
		protocol = Official
	default:
		protocol = OfficialLegacy
	}
	return append(receivers, &receiver{url: j.callbackURL, protocol: protocol, sign: s.sign[protocol]})
}
