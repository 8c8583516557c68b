package simulate

import (
	"fmt"
	"time"
)

// form is the API that created a job: Kling's legacy or new one.
type form int

const (
	legacyForm form = iota
	newForm
)

// order has the parameters of a job.
type order struct {
	form                    form
	kind                    string // as in the path
	model, prompt           string
	seconds                 int
	callbackURL, externalID string
	base                    string // where media are served, such as http://127.0.0.1:5010
}

// change is a point of a job's life with its time.
type change struct {
	Point
	at time.Time
}

// job is a video generation. Its whole life is decided when it is created.
type job struct {
	order
	number uint64 // in the order of creation, from 1
	id     string
	life   []change
	fate   fate

	// waiting counts the steps that remain: the end, and each callback. The
	// Simulator's lock guards it.
	waiting int
}

func newJob(cfg Config, o order, number uint64, now time.Time) *job {
	now = now.UTC().Truncate(time.Millisecond)
	// Like Kling's, ids are digits that begin with the time, so that a restarted simulator
	// uses no id twice.
	j := &job{order: o, number: number, fate: cfg.jobFate(number), id: fmt.Sprint(now.UnixMilli()<<20 | int64(number&(1<<20-1)))}
	for _, p := range Life(j.fate.end) {
		j.life = append(j.life, change{p, now.Add(time.Duration(p.After * float64(cfg.Duration)))})
	}
	return j
}

// asOf returns the last change up to a time.
func (j *job) asOf(now time.Time) change {
	last := j.life[0]
	for _, change := range j.life[1:] {
		if !change.at.After(now) {
			last = change
		}
	}
	return last
}

func (j *job) end() change { return j.life[len(j.life)-1] }

// update returns the report of a job after a change, with links from the given time.
func (s *Simulator) update(j *job, c change, by giver, given time.Time) Update {
	u := Update{
		JobID: j.id, ExternalID: j.externalID, Prompt: j.prompt, Model: j.model, Status: c.Status, Progress: c.Progress,
		Created: j.life[0].at, At: c.at, Seconds: j.seconds, drift: j.fate.drift,
	}
	u.NoMedia = by == byCallback && j.fate.noMedia
	if c.Status == Succeeded {
		u.VideoURL, u.ThumbnailURL = s.link(j, videoFile, by, given), s.link(j, thumbnailFile, by, given)
	}
	return u
}

// add creates a job and schedules its end and its callbacks.
func (s *Simulator) add(o order) (*job, *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats.Jobs.InHand >= s.cfg.Parallel {
		return nil, codeParallel.fault("too many unfinished tasks; wait until some have ended")
	}
	if s.external[o.externalID] != nil {
		return nil, codeParameterValue.fault("another task has this external_task_id")
	}
	s.stats.Jobs.Created++
	s.stats.Jobs.InHand++
	j := newJob(s.cfg, o, s.stats.Jobs.Created, time.Now())
	s.jobs[j.id] = j
	if o.externalID != "" {
		s.external[o.externalID] = j
	}
	callbacks := s.plan(j)
	j.waiting = 1 + len(callbacks)
	time.AfterFunc(time.Until(j.end().at), func() { s.settle(j) })
	for _, callback := range callbacks {
		time.AfterFunc(time.Until(callback.due), func() { s.deliver(callback) })
	}
	return j, nil
}

// settle is called after the end of a job and after each of its callbacks. A job with
// nothing left to happen may then be forgotten.
func (s *Simulator) settle(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.waiting--; j.waiting > 0 {
		return
	}
	s.stats.Jobs.InHand--
	s.finished = append(s.finished, j)
	if len(s.finished) > s.cfg.Keep {
		oldest := s.finished[0]
		s.finished = s.finished[1:]
		delete(s.jobs, oldest.id)
		delete(s.external, oldest.externalID)
	}
}

// find returns the job with an id, or with an external id; nil if there is none.
func (s *Simulator) find(id, externalID string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	if job := s.jobs[id]; job != nil {
		return job
	}
	return s.external[externalID]
}
