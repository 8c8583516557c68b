package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Job is Kling's video generation as the events so far tell it.
type Job struct {
	ID     string
	Status tasks.Status
	// Progress is in percent; nil when nothing was said of it. It never falls,
	// and is 100 once the job is completed.
	Progress *int
	Prompt   string
	Model    string
	// Duration is the length of the (first) video.
	Duration time.Duration
	// Error is the sender's reason for a job that failed or was cancelled.
	Error string
	// ExternalID is the caller's own id of the job.
	ExternalID string
	// Source is the protocol that spoke of the job last.
	Source string
	// Contradicted reports that the job was said to have failed and to have been
	// cancelled; Status is the one that came first by the sender's clock.
	Contradicted bool
	// CreatedAt, StartedAt and FinishedAt are the sender's times; zero when it
	// gave none.
	CreatedAt, StartedAt, FinishedAt time.Time
	// FirstReceivedAt and LastReceivedAt are when this machine first and last
	// received an event of the job.
	FirstReceivedAt, LastReceivedAt time.Time
}

// facts is all that a job's events have said, in a form in which order and
// repeats do not matter: each field keeps the least or the greatest of what it
// was given, by value or by the time of the event that said it. A Job is read
// off it by view.
type facts struct {
	// First is the earliest event that reported each status.
	First map[tasks.Status]stamp `json:"first,omitempty"`
	// Finished is the earliest end that was given with each terminal status.
	Finished   map[tasks.Status]time.Time `json:"finished,omitempty"`
	Progress   *int                       `json:"progress,omitempty"`
	CreatedAt  time.Time                  `json:"created_at,omitzero"`
	Prompt     latest[string]             `json:"prompt,omitzero"`
	Model      latest[string]             `json:"model,omitzero"`
	Error      latest[string]             `json:"error,omitzero"`
	ExternalID latest[string]             `json:"external_id,omitzero"`
	Source     latest[string]             `json:"source,omitzero"`
	Duration   latest[time.Duration]      `json:"duration_ns,omitzero"`
}

// stamp places an event in time. Events of the same time go by how far they say
// the job is, and then by id, so that any two stamps of different events have an
// order.
type stamp struct {
	At    time.Time `json:"at,omitzero"`
	Rank  int       `json:"rank,omitempty"`
	Event string    `json:"event"`
}

func stampOf(up tasks.JobUpdate) stamp {
	return stamp{At: up.OccurredAt.UTC(), Rank: rank(up.Status), Event: up.EventID}
}

func (s stamp) compare(o stamp) int {
	return cmp.Or(s.At.Compare(o.At), cmp.Compare(s.Rank, o.Rank), cmp.Compare(s.Event, o.Event))
}

// rank orders the statuses by how far the job is. Of two ends said of the same
// instant, failed comes before cancelled. Ranks are kept in rows: new ones go last.
func rank(s tasks.Status) int {
	return slices.Index([]tasks.Status{
		tasks.StatusCreated, tasks.StatusProcessing, tasks.StatusFailed, tasks.StatusCancelled, tasks.StatusCompleted, tasks.StatusLost,
	}, s) + 1
}

// latest is the value that the latest event gave.
type latest[T comparable] struct {
	Value T     `json:"value"`
	Stamp stamp `json:"stamp"`
}

// offer takes a value over when it says something and is from a later event.
func (l *latest[T]) offer(value T, from stamp) {
	var nothing T
	if value == nothing {
		return
	}
	if l.Value == nothing || from.compare(l.Stamp) > 0 {
		*l = latest[T]{value, from}
	}
}

// apply takes in what an event says of the job.
func (f *facts) apply(source string, up tasks.JobUpdate) {
	from := stampOf(up)
	if up.Status != "" {
		if f.First == nil {
			f.First = make(map[tasks.Status]stamp)
		}
		if old, ok := f.First[up.Status]; !ok || from.compare(old) < 0 {
			f.First[up.Status] = from
		}
	}
	if up.Status.Terminal() && !up.FinishedAt.IsZero() {
		if f.Finished == nil {
			f.Finished = make(map[tasks.Status]time.Time)
		}
		f.Finished[up.Status] = earlier(f.Finished[up.Status], up.FinishedAt)
	}
	if up.Progress != nil && (f.Progress == nil || *up.Progress > *f.Progress) {
		p := *up.Progress
		f.Progress = &p
	}
	f.CreatedAt = earlier(f.CreatedAt, up.CreatedAt)
	f.Prompt.offer(up.Prompt, from)
	f.Model.offer(up.Model, from)
	f.Error.offer(up.Error, from)
	f.ExternalID.offer(up.ExternalID, from)
	f.Source.offer(source, from)
	f.Duration.offer(up.Duration, from)
}

// earlier returns the earlier of two times, of which a zero one does not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b.UTC()
	}
	return a
}

// view reads the job off the facts.
func (f *facts) view(id string) Job {
	status, contradicted := f.status()
	j := Job{
		ID: id, Status: status, Contradicted: contradicted,
		Progress: f.Progress, Prompt: f.Prompt.Value, Model: f.Model.Value,
		Duration: f.Duration.Value, Error: f.Error.Value,
		ExternalID: f.ExternalID.Value, Source: f.Source.Value,
		CreatedAt: f.CreatedAt, StartedAt: f.First[tasks.StatusProcessing].At,
	}
	if j.CreatedAt.IsZero() {
		j.CreatedAt = f.First[tasks.StatusCreated].At
	}
	if status.Terminal() {
		j.FinishedAt = f.Finished[status]
		if j.FinishedAt.IsZero() {
			j.FinishedAt = f.First[status].At
		}
	}
	if status == tasks.StatusCompleted {
		all := 100
		j.Progress, j.Error = &all, ""
	}
	return j
}

// status is the furthest that the job has come. A completed job stays completed
// whatever else was said of it. Of failed and cancelled, which exclude each
// other, the earlier holds and the job is flagged. A job is lost only while that is
// the last that was said of it.
func (f *facts) status() (s tasks.Status, contradicted bool) {
	seen := func(s tasks.Status) bool { _, ok := f.First[s]; return ok }
	failed, cancelled := seen(tasks.StatusFailed), seen(tasks.StatusCancelled)
	switch {
	case seen(tasks.StatusCompleted):
		return tasks.StatusCompleted, false
	case failed && cancelled:
		if f.First[tasks.StatusCancelled].compare(f.First[tasks.StatusFailed]) < 0 {
			return tasks.StatusCancelled, true
		}
		return tasks.StatusFailed, true
	case failed:
		return tasks.StatusFailed, false
	case cancelled:
		return tasks.StatusCancelled, false
	case f.Source.Stamp.Rank == rank(tasks.StatusLost):
		return tasks.StatusLost, false
	case seen(tasks.StatusProcessing):
		return tasks.StatusProcessing, false
	}
	return tasks.StatusCreated, false
}

func (f *facts) encode() (string, error) {
	data, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("encode job facts: %w", err)
	}
	return string(data), nil
}

func decodeFacts(text string) (*facts, error) {
	f := new(facts)
	if err := json.Unmarshal([]byte(text), f); err != nil {
		return nil, fmt.Errorf("decode job facts: %w", err)
	}
	return f, nil
}
