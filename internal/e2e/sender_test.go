package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
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

// sender posts deliveries to the ingest processes.
type sender struct {
	targets []string // base URLs
	client  *http.Client

	mu    sync.Mutex // guards tally
	tally tally
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

func newSender(t *testing.T) *sender {
	s := &sender{tally: tally{events: map[string]*event{}, acks: map[string]int{}}, client: &http.Client{
		Timeout:   answerTimeout,
		Transport: &http.Transport{MaxIdleConnsPerHost: posters, IdleConnTimeout: 5 * time.Second},
	}}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// sent returns a copy of the tally.
func (s *sender) sent() tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := s.tally
	copied.events, copied.acks = maps.Clone(s.tally.events), maps.Clone(s.tally.acks)
	return copied
}

// post makes one delivery to one of the targets and counts the answer. It reports
// whether the event was accepted.
func (s *sender) post(ctx context.Context, e *event) bool {
	status, answer, err := e.post(ctx, s.client, s.target(), "")
	if err != nil {
		status = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.events[e.id] = e
	s.tally.posts++
	switch {
	case status == http.StatusOK && answer == received:
		s.tally.acks[e.id]++
		return true
	case status == http.StatusServiceUnavailable:
		s.tally.unavailable++
	case status != 0:
		s.tally.problems = append(s.tally.problems, fmt.Sprintf("event %s was answered %d %s", e.id, status, answer))
	}
	s.tally.refused++
	return false
}

// forge delivers an event with a wrong signature.
func (s *sender) forge(ctx context.Context, e *event) {
	status, answer, err := e.post(ctx, s.client, s.target(), " forged")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.forged++
	if err == nil && (status != http.StatusUnauthorized || answer != forged) {
		s.tally.problems = append(s.tally.problems, fmt.Sprintf("a forged delivery was answered %d %s", status, answer))
	}
}

func (s *sender) target() string { return s.targets[rand.IntN(len(s.targets))] }

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
	for range posters {
		posting.Go(func() {
			for e := range deliveries {
				s.deliver(sending, e)
			}
		})
	}
	go func() {
		defer close(l.ended)
		generate(making, script, rate, deliveries)
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
func generate(ctx context.Context, script *script, rate float64, out chan<- *event) {
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	var waiting []*event
	for {
		for ctx.Err() == nil && len(waiting) < window {
			for _, e := range script.job() {
				repeats := []int{1, 1, 1, 1, 1, 1, 1, 2, 2, 4}[script.rng.IntN(10)]
				waiting = append(waiting, slices.Repeat([]*event{&e}, repeats)...)
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

// deliver sends an event until it is answered with 200 or ctx ends.
func (s *sender) deliver(ctx context.Context, e *event) {
	for ctx.Err() == nil {
		if rand.IntN(50) == 0 {
			s.forge(ctx, e)
		}
		if s.post(ctx, e) {
			return
		}
		select {
		case <-time.After(200*time.Millisecond + rand.N(600*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}
