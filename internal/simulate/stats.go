package simulate

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Stats is what a Simulator did so far. At any time
// Planned + Repeated = Lost + Delivered + GivenUp + Waiting of the callbacks.
type Stats struct {
	Jobs      JobStats      `json:"jobs"`
	Callbacks CallbackStats `json:"callbacks"`
	Lookups   LookupStats   `json:"lookups"`
	Media     MediaStats    `json:"media"`
	// Refused counts the calls that were refused, by code.
	Refused map[string]int `json:"refused"`
}

// JobStats counts jobs: all that were created, those in hand, those forgotten,
// and those remembered by where they stand.
type JobStats struct {
	Created    uint64 `json:"created"`
	InHand     int    `json:"in_hand"`
	Forgotten  uint64 `json:"forgotten"`
	Submitted  int    `json:"submitted"`
	Processing int    `json:"processing"`
	Succeeded  int    `json:"succeeded"`
	Failed     int    `json:"failed"`
	Cancelled  int    `json:"cancelled"`
}

// CallbackStats counts callbacks when their job is created, and what became of
// them.
type CallbackStats struct {
	// Planned are those that the jobs' lives call for. Of these Lost are never
	// sent, Repeated are sent once more, Reordered after their successor and Late
	// after their time.
	Planned   int `json:"planned"`
	Lost      int `json:"lost"`
	Repeated  int `json:"repeated"`
	Reordered int `json:"reordered"`
	Late      int `json:"late"`
	// Posts counts attempts; Answers what they were answered with, by status,
	// "none" where there was no answer.
	Posts   int            `json:"posts"`
	Answers map[string]int `json:"answers"`
	// Delivered were answered with 2xx, GivenUp never; Waiting are still to be sent.
	Delivered int `json:"delivered"`
	GivenUp   int `json:"given_up"`
	Waiting   int `json:"waiting"`
}

// LookupStats counts the look-ups that were answered, lists included.
type LookupStats struct {
	Answered int `json:"answered"`
	// LinksRefreshed counts jobs that were told of with links while those of the
	// callback were dead.
	LinksRefreshed int `json:"links_refreshed"`
}

// MediaStats counts downloads.
type MediaStats struct {
	// Requests are those by links that live; Resumed of them asked for a range.
	Requests int `json:"requests"`
	Resumed  int `json:"resumed"`
	// BrokenOff were cut in the middle.
	BrokenOff int `json:"broken_off"`
	// Dead were by links that are dead by fate, Expired by ones that are too old.
	Dead    int `json:"dead"`
	Expired int `json:"expired"`
	// Bytes were read to be sent.
	Bytes int64 `json:"bytes"`
}

// counters are the parts of Stats that are counted as they happen.
type counters struct {
	mu sync.Mutex // guards s
	s  Stats
}

func newCounters() *counters {
	return &counters{s: Stats{Callbacks: CallbackStats{Answers: map[string]int{}}, Refused: map[string]int{}}}
}

// add changes the counters.
func (c *counters) add(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.s)
}

func (c *counters) planned(f callbackFate) {
	c.add(func(s *Stats) {
		s.Callbacks.Planned++
		s.Callbacks.Lost += one(f.lost)
		s.Callbacks.Repeated += one(f.repeated)
		s.Callbacks.Reordered += one(f.reordered)
		s.Callbacks.Late += one(f.late)
	})
}

func (c *counters) posted(status int, delivered, last bool) {
	answer := strconv.Itoa(status)
	if status == 0 {
		answer = "none"
	}
	c.add(func(s *Stats) {
		s.Callbacks.Posts++
		s.Callbacks.Answers[answer]++
		s.Callbacks.Delivered += one(delivered)
		s.Callbacks.GivenUp += one(!delivered && last)
	})
}

func (c *counters) lookedUp() { c.add(func(s *Stats) { s.Lookups.Answered++ }) }

func (c *counters) refreshed(dead bool) {
	c.add(func(s *Stats) { s.Lookups.LinksRefreshed += one(dead) })
}

func (c *counters) refused(why code) { c.add(func(s *Stats) { s.Refused[strconv.Itoa(int(why))]++ }) }

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// Stats returns what happened so far.
func (s *Simulator) Stats() Stats {
	jobs := s.book.count(time.Now())
	s.count.mu.Lock()
	defer s.count.mu.Unlock()
	stats := s.count.s
	stats.Jobs = jobs
	stats.Refused = maps.Clone(stats.Refused)
	c := &stats.Callbacks
	c.Answers = maps.Clone(c.Answers)
	c.Waiting = c.Planned + c.Repeated - c.Lost - c.Delivered - c.GivenUp
	return stats
}

func (s *Simulator) serveStats(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(s.Stats()) // a client that is gone
}
