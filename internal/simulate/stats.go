package simulate

import (
	"encoding/json"
	"maps"
	"net/http"
	"time"
)

// Stats is what a Simulator did so far.
type Stats struct {
	Jobs      JobStats      `json:"jobs"`
	Callbacks CallbackStats `json:"callbacks"`
	Lookups   LookupStats   `json:"lookups"`
	Media     MediaStats    `json:"media"`
	// Refused counts the calls that were refused, by code.
	Refused map[string]int `json:"refused"`
}

// JobStats counts jobs: all created ones, the unfinished ones (InHand), and the remembered
// finished ones by outcome.
type JobStats struct {
	Created   uint64 `json:"created"`
	InHand    int    `json:"in_hand"`
	Succeeded int    `json:"succeeded"`
	Failed    int    `json:"failed"`
	Cancelled int    `json:"cancelled"`
}

// CallbackStats counts callbacks from when their job is created.
// Planned + Repeated = Lost + Delivered + GivenUp + Waiting.
type CallbackStats struct {
	Planned   int `json:"planned"`
	Lost      int `json:"lost"`      // never sent
	Repeated  int `json:"repeated"`  // sent once more
	Reordered int `json:"reordered"` // sent after their successor
	Late      int `json:"late"`
	Delivered int `json:"delivered"` // answered with 2xx
	GivenUp   int `json:"given_up"`  // no attempt was answered with 2xx
	Waiting   int `json:"waiting"`   // still to be sent
}

// LookupStats counts the look-ups that were answered.
type LookupStats struct {
	Answered int `json:"answered"`
	// LinksRefreshed counts new links to jobs whose links in callbacks do not work.
	LinksRefreshed int `json:"links_refreshed"`
}

// MediaStats counts downloads.
type MediaStats struct {
	Requests  int `json:"requests"`   // by working links
	Resumed   int `json:"resumed"`    // of these with a Range
	BrokenOff int `json:"broken_off"` // cut in the middle
	Dead      int `json:"dead"`       // by dead links
	Expired   int `json:"expired"`    // by links that are too old
}

// count changes the counters.
func (s *Simulator) count(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}

// Stats returns what happened so far.
func (s *Simulator) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Refused = maps.Clone(stats.Refused)
	c := &stats.Callbacks
	c.Waiting = c.Planned + c.Repeated - c.Lost - c.Delivered - c.GivenUp
	now := time.Now()
	for _, job := range s.jobs {
		switch job.asOf(now).Status {
		case Succeeded:
			stats.Jobs.Succeeded++
		case Failed:
			stats.Jobs.Failed++
		case Cancelled:
			stats.Jobs.Cancelled++
		}
	}
	return stats
}

func (s *Simulator) serveStats(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(s.Stats()) // the client may be gone
}
