package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// tally counts the events sent and the answers to them.
type tally struct {
	events map[string]*event
	acks   map[string]int // answers with 200, by event
	// posts counts deliveries, including repeats and retries; refused counts those
	// that were not answered with 200, unavailable those answered with 503.
	posts, refused, unavailable int
	forged                      int
	problems                    []string
}

// ledger is a tally for concurrent use.
type ledger struct {
	mu sync.Mutex // guards tally
	tally
}

func newLedger() *ledger {
	return &ledger{tally: tally{events: map[string]*event{}, acks: map[string]int{}}}
}

// read returns a copy of the tally.
func (l *ledger) read() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	copied := l.tally
	copied.events, copied.acks = maps.Clone(l.events), maps.Clone(l.acks)
	return copied
}

// known records an event before it is first sent.
func (l *ledger) known(e *event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events[e.id] = e
}

// answered records the answer to a delivery; 0 means none.
func (l *ledger) answered(e *event, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posts++
	switch status {
	case http.StatusOK:
		l.acks[e.id]++
		return
	case http.StatusServiceUnavailable:
		l.unavailable++
	case 0:
	default:
		l.problems = append(l.problems, fmt.Sprintf("event %s was answered with %d", e.id, status))
	}
	l.refused++
}

// forgery records the answer to a forged delivery.
func (l *ledger) forgery(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forged++
	if status != http.StatusUnauthorized && status != 0 {
		l.problems = append(l.problems, fmt.Sprintf("a forged delivery was answered with %d", status))
	}
}

// sender posts deliveries to the ingest processes.
type sender struct {
	ledger  *ledger
	targets []string // base URLs
	client  *http.Client
}

const (
	// posters is how many deliveries are under way at once.
	posters = 24
	// answerTimeout is how long a delivery waits for its answer.
	answerTimeout = 10 * time.Second
	// retryFor is how long the sender retries after its last new delivery.
	retryFor = time.Minute
	// window is how many deliveries wait to be sent, in random order.
	window = 60
)

func newSender(targets []string) *sender {
	return &sender{ledger: newLedger(), targets: targets, client: &http.Client{
		Timeout:   answerTimeout,
		Transport: &http.Transport{MaxIdleConnsPerHost: posters, IdleConnTimeout: 5 * time.Second},
	}}
}

// load is a stream of deliveries.
type load struct {
	stop context.CancelFunc
	// ended is closed when everything is delivered, or retries have ended.
	ended chan struct{}
}

// start sends this many deliveries a second until finish: the script's jobs, each
// event once or several times, in random order.
func (s *sender) start(ctx context.Context, script *script, rate float64) *load {
	making, stop := context.WithCancel(ctx)
	l := &load{stop: stop, ended: make(chan struct{})}
	deliveries := make(chan *event)
	// Retries continue after the last new delivery.
	sending, giveUp := context.WithCancel(ctx)
	var posting sync.WaitGroup
	for i := range posters {
		rng := rand.New(rand.NewPCG(script.rng.Uint64(), uint64(i)))
		posting.Go(func() {
			for e := range deliveries {
				s.deliver(sending, rng, e)
			}
		})
	}
	go func() {
		defer close(l.ended)
		s.generate(making, script, rate, deliveries)
		close(deliveries)
		timer := time.AfterFunc(retryFor, giveUp)
		posting.Wait()
		timer.Stop()
		giveUp()
	}()
	return l
}

// finish ends new jobs and waits until everything is delivered.
func (l *load) finish() {
	l.stop()
	<-l.ended
}

// generate makes up deliveries until ctx ends, and then sends the rest.
func (s *sender) generate(ctx context.Context, script *script, rate float64, out chan<- *event) {
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	var waiting []*event
	for {
		for ctx.Err() == nil && len(waiting) < window {
			for _, e := range script.job() {
				s.ledger.known(&e)
				for range 1 + repeats(script.rng) {
					waiting = append(waiting, &e)
				}
			}
		}
		if len(waiting) == 0 {
			return
		}
		i := script.rng.IntN(len(waiting))
		out <- waiting[i]
		waiting = slices.Delete(waiting, i, i+1)
		<-tick.C
	}
}

// repeats returns how often an event is repeated.
func repeats(rng *rand.Rand) int {
	switch rng.IntN(10) {
	case 0:
		return 3
	case 1, 2:
		return 1
	}
	return 0
}

// deliver sends an event until it is answered with 200 or ctx ends.
func (s *sender) deliver(ctx context.Context, rng *rand.Rand, e *event) {
	for ctx.Err() == nil {
		if rng.IntN(50) == 0 {
			s.ledger.forgery(s.post(ctx, rng, e, " forged"))
		}
		status := s.post(ctx, rng, e, "")
		s.ledger.answered(e, status)
		if status == http.StatusOK {
			return
		}
		select {
		case <-time.After(200*time.Millisecond + rand.N(600*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// post makes one delivery to one of the targets and returns the status, 0 without a
// complete answer.
func (s *sender) post(ctx context.Context, rng *rand.Rand, e *event, secretSuffix string) int {
	status, answer, err := e.post(ctx, s.client, s.targets[rng.IntN(len(s.targets))], secretSuffix)
	switch {
	case err != nil:
		return 0
	case status == http.StatusOK && answer != received:
		return -1
	}
	return status
}
