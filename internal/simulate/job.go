package simulate

import (
	"fmt"
	"time"
)

// status is a state of a job.
type status string

const (
	submitted  status = "submitted"
	processing status = "processing"
	succeeded  status = "succeeded"
	failed     status = "failed"
	cancelled  status = "cancelled"
)

// form is which of Kling's two APIs created a job, or is asked for it.
type form int

const (
	legacyForm form = iota
	newForm
)

// moment is a point in a job's life at which something changes.
type moment struct {
	at       time.Time
	status   status
	progress int // percent
}

// order is what was asked for when a job was created.
type order struct {
	form                    form
	kind                    string // as in the path
	model, prompt           string
	seconds                 int
	callbackURL, externalID string
	// base is where media are served, e.g. "http://127.0.0.1:5010".
	base string
}

// job is a video generation. All that becomes of it is settled when it is
// created: where it stands is a function of the time.
type job struct {
	order
	// number is the job's place in the order of creation, from 1.
	number  uint64
	id      string
	moments []moment
	fate    fate

	// waiting is how many things are still to happen: the end, and each callback.
	// It is the book's.
	waiting int
}

// newJob lays out a job's life.
func newJob(cfg Config, o order, number uint64, now time.Time) *job {
	now = now.UTC().Truncate(time.Millisecond)
	f := cfg.jobFate(number)
	quarter := cfg.Duration / 4
	return &job{
		order: o, number: number, fate: f,
		// Like Kling's, ids are digits that begin with the time: a simulator that is
		// started again makes no id twice, whatever its seed.
		id: fmt.Sprint(now.UnixMilli()<<20 | int64(number&(1<<20-1))),
		moments: []moment{
			{now, submitted, 0},
			{now.Add(quarter), processing, 25},
			{now.Add(3 * quarter), processing, 75},
			{now.Add(cfg.Duration), f.end, 100},
		},
	}
}

// asOf returns the job as it stands at a time.
func (j *job) asOf(now time.Time) moment {
	m := j.moments[0]
	for _, next := range j.moments[1:] {
		if next.at.After(now) {
			break
		}
		m = next
	}
	return m
}

func (j *job) created() time.Time { return j.moments[0].at }

func (j *job) end() moment { return j.moments[len(j.moments)-1] }
