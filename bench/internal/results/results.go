package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/klinghook/klinghook/bench/internal/stats"
)

// Results are those of one plan. A section that was not measured is nil.
type Results struct {
	Saturation *Saturation `json:"saturation,omitempty"`
	Steady     *Steady     `json:"steady,omitempty"`
	Growth     *Growth     `json:"growth,omitempty"`
	Memory     *Memory     `json:"memory,omitempty"`
	Drain      *Drain      `json:"drain,omitempty"`
	Idle       *Idle       `json:"idle,omitempty"`
	Downloads  *Downloads  `json:"downloads,omitempty"`
	Scaling    *Scaling    `json:"scaling,omitempty"`
	Soak       *Soak       `json:"soak,omitempty"`
}

// Stamp says when, where and of what a section was measured.
type Stamp struct {
	At      time.Time `json:"at"`
	Commit  string    `json:"commit"`
	Plan    string    `json:"plan"`
	Machine Machine   `json:"machine"`
	// Load is the machine's load average of a minute before the section began: what
	// else it had to do.
	Load float64 `json:"load"`
}

// Machine is where it was measured.
type Machine struct {
	Cores     int               `json:"cores"`
	Processor string            `json:"processor"`
	MemoryMiB int64             `json:"memory_mib"`
	System    string            `json:"system"`
	Programs  map[string]string `json:"programs"`
}

// Round is one round of one contestant.
type Round struct {
	// Rate is in answers of 200 a second; latencies are in milliseconds.
	Rate float64 `json:"rate"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	// P99Sent is, at a constant rate, from when requests were sent and not from when
	// they were due.
	P99Sent  float64 `json:"p99_sent_ms,omitempty"`
	Requests int64   `json:"requests"`
	Errors   int64   `json:"errors"`
	Failure  string  `json:"failure,omitempty"`
	// CPU and RedisCPU are microseconds of processor time for each request.
	CPU      float64 `json:"cpu_us"`
	RedisCPU float64 `json:"redis_cpu_us,omitempty"`
	// IdleMiB is resident before the load, PeakMiB at most.
	IdleMiB     float64 `json:"idle_mib"`
	PeakMiB     float64 `json:"peak_mib"`
	FirstAnswer float64 `json:"first_answer_ms"`
	// Duplicates are deliveries that klinghook found in the queue already; Queued is
	// what was in the queue at the end.
	Duplicates int64 `json:"duplicates,omitempty"`
	Queued     int64 `json:"queued,omitempty"`
}

// Contender is one contestant in one setting.
type Contender struct {
	Name string `json:"name"`
	// Missing says what is to be installed for it to take part.
	Missing string        `json:"missing,omitempty"`
	Rounds  []Round       `json:"rounds,omitempty"`
	Curve   []stats.Point `json:"curve,omitempty"`
}

// Series returns one figure of each round.
func (c Contender) Series(figure func(Round) float64) []float64 {
	series := make([]float64, 0, len(c.Rounds))
	for _, r := range c.Rounds {
		series = append(series, figure(r))
	}
	return series
}

// Summary is the summary of one figure.
func (c Contender) Summary(figure func(Round) float64) stats.Summary {
	return stats.Summarize(c.Series(figure))
}

// Setting is a comparison under the same circumstances.
type Setting struct {
	Name string `json:"name"`
	// Connections are those that the load was sent on; 0 where that says nothing.
	Connections int `json:"connections,omitempty"`
	// RoundTrip is the median PING to Redis in milliseconds.
	RoundTrip  float64     `json:"round_trip_ms,omitempty"`
	Contenders []Contender `json:"contenders"`
}

// Contender returns the one of that name; one without rounds where there is none.
func (s Setting) Contender(name string) Contender {
	for _, c := range s.Contenders {
		if c.Name == name {
			return c
		}
	}
	return Contender{Name: name}
}

// The settings of the saturation.
const (
	Everysec = "everysec"
	Always   = "always"
	Distant  = "distant"
	// The same on more connections.
	EverysecMany = "everysec, more connections"
	AlwaysMany   = "always, more connections"
	DistantMany  = "distant, more connections"
)

// Saturation is the comparison at as much load as is taken.
type Saturation struct {
	Stamp
	Tool        string    `json:"tool"`
	Connections int       `json:"connections"`
	BodySize    int       `json:"body_size"`
	Seconds     float64   `json:"seconds"`
	Settings    []Setting `json:"settings"`
}

// Setting returns the setting of that name; an empty one where there is none.
func (s *Saturation) Setting(name string) Setting {
	if s != nil {
		for _, setting := range s.Settings {
			if setting.Name == name {
				return setting
			}
		}
	}
	return Setting{Name: name}
}

// Steady is the comparison at a constant rate.
type Steady struct {
	Stamp
	// Rate is in requests a second, sent for Seconds a round.
	Rate    int     `json:"rate"`
	Seconds float64 `json:"seconds"`
	Setting
}

// Growth is what more connections and larger bodies cost klinghook-ingest.
type Growth struct {
	Stamp
	Cells []Cell `json:"cells"`
}

// Cell is one of them.
type Cell struct {
	Connections int `json:"connections"`
	BodySize    int `json:"body_size"`
	Round
}

// Memory is what events cost Redis.
type Memory struct {
	Stamp
	Rows []MemoryRow `json:"rows"`
}

// MemoryRow is for bodies of one size: bytes of Redis's memory for each event, while
// it waits and while it is remembered.
type MemoryRow struct {
	BodySize int     `json:"body_size"`
	Events   int     `json:"events"`
	Pending  float64 `json:"pending"`
	Retained float64 `json:"retained"`
}

// Write keeps the results in a file, whose folder it makes.
func (r *Results) Write(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Read returns the results of a file; none where there is no file.
func Read(path string) (*Results, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return new(Results), nil
	}
	if err != nil {
		return nil, err
	}
	r := new(Results)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w; delete it to begin anew", path, err)
	}
	return r, nil
}
