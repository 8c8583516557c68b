package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// ledger is what was sent and what came of it, as the sender saw it.
type ledger struct {
	mu     sync.Mutex // guards what follows
	events map[string]*event
	acks   map[string]int // how often an event was answered with 200
	// posts counts deliveries, repeats and retries included; refused those of them
	// that were not answered with 200.
	posts, refused int
	// unavailable counts the answers 503.
	unavailable int
	forged      int
	problems    []string
}

func newLedger() *ledger {
	return &ledger{events: map[string]*event{}, acks: map[string]int{}}
}

// known notes an event before it is sent for the first time.
func (l *ledger) known(e *event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events[e.id] = e
}

// answered notes the answer to a delivery; 0 is none.
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

// forgery notes the answer to a delivery that nobody signed.
func (l *ledger) forgery(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forged++
	if status != http.StatusUnauthorized && status != 0 {
		l.problems = append(l.problems, fmt.Sprintf("a forged delivery was answered with %d", status))
	}
}

// acknowledged returns the ids of the events that were answered with 200.
func (l *ledger) acknowledged() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make(map[string]bool, len(l.acks))
	for id := range l.acks {
		ids[id] = true
	}
	return ids
}

// sent returns the events by id.
func (l *ledger) sent() map[string]*event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.events)
}

// forgeries returns how many forged deliveries were sent so far.
func (l *ledger) forgeries() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.forged
}

// refusals returns how many deliveries were answered with 503 so far.
func (l *ledger) refusals() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unavailable
}

// sender posts deliveries to the ingest processes.
type sender struct {
	ledger  *ledger
	targets []string // base URLs
	client  *http.Client
}

const (
	// posters is how many deliveries are on their way at once.
	posters = 24
	// answerTimeout is how long a delivery waits for its answer.
	answerTimeout = 10 * time.Second
	// patience is how long the sender tries a delivery again after the last one was
	// sent first.
	patience = time.Minute
	// window is how many deliveries wait to be sent, in which order luck decides.
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
	// ended is closed when all is delivered, or given up.
	ended chan struct{}
}

// start sends so many deliveries a second until finish. They are of jobs that the
// script makes up: each event once or several times, in no order.
func (s *sender) start(ctx context.Context, script *script, rate float64) *load {
	making, stop := context.WithCancel(ctx)
	l := &load{stop: stop, ended: make(chan struct{})}
	deliveries := make(chan *event)
	// Retries go on for a while after the last delivery was made.
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
		timer := time.AfterFunc(patience, giveUp)
		posting.Wait()
		timer.Stop()
		giveUp()
	}()
	return l
}

// finish makes up no more jobs and waits until what there is was delivered.
func (l *load) finish() {
	l.stop()
	<-l.ended
}

// generate makes up deliveries until ctx ends, and then hands over the rest.
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

// repeats is how often an event is sent again.
func repeats(rng *rand.Rand) int {
	switch rng.IntN(10) {
	case 0:
		return 3
	case 1, 2:
		return 1
	}
	return 0
}

// deliver posts an event until it is answered with 200 or ctx ends.
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

// post makes one delivery to one of the targets and returns the answer's status, 0
// where none was read to its end.
func (s *sender) post(ctx context.Context, rng *rand.Rand, e *event, secretSuffix string) int {
	target := s.targets[rng.IntN(len(s.targets))]
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target+e.path, bytes.NewReader(e.body))
	if err != nil {
		return 0
	}
	r.Header = e.header(secretSuffix, time.Now())
	res, err := s.client.Do(r)
	if err != nil {
		return 0
	}
	answer, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return 0
	}
	if res.StatusCode == http.StatusOK && string(answer) != `{"received": true}` {
		return -1
	}
	return res.StatusCode
}
