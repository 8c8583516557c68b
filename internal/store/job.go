package store

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Job is a generation at Kling, as its events describe it so far.
type Job struct {
	Key    tasks.JobKey
	Status tasks.Status
	// Progress is in percent; nil when unknown. It never falls, and is 100 once the
	// job is completed.
	Progress *int
	Prompt   string
	Model    string
	// Duration is the length of the (first) video.
	Duration time.Duration
	// Error is why the job failed or was cancelled, in the sender's words.
	Error string
	// ExternalID is the caller's own id for the job.
	ExternalID string
	// Source is the protocol of the job's latest event.
	Source string
	// Tags, ExpectedCost and Metadata come from the program that submitted the job. Its
	// prompt, model, external id and source are used if the events have none. Metadata is
	// a JSON object; nil if there is none.
	Tags         []string
	ExpectedCost tasks.Cost
	Metadata     json.RawMessage
	// Contradicted reports that some events say failed and others cancelled; Status
	// is the one that came first by the sender's clock.
	Contradicted bool
	// Costs are what the job cost, one entry for each kind and unit.
	Costs []tasks.Cost
	// NoMedia is why a file of a completed job is missing; empty if none is.
	NoMedia string
	// TestCallback reports that the job's only event looks like the test callback of Kling's
	// console, which belongs to no job.
	TestCallback bool
	// CreatedAt, StartedAt and FinishedAt are the sender's times; zero when unknown.
	CreatedAt, StartedAt, FinishedAt time.Time
	// FirstReceivedAt and LastReceivedAt are when we received the job's first event
	// and its latest news.
	FirstReceivedAt, LastReceivedAt time.Time
}

// facts combines a job's events so that their order and repeats make no difference: each
// field keeps the smallest, the largest or the latest value. view turns it into a Job.
type facts struct {
	// First is the earliest event that reported each status.
	First map[tasks.Status]stamp `json:"first,omitempty"`
	// Finished is the earliest end time that came with each terminal status.
	Finished   map[tasks.Status]time.Time `json:"finished,omitempty"`
	Progress   *int                       `json:"progress,omitempty"`
	CreatedAt  time.Time                  `json:"created_at,omitzero"`
	Prompt     latest[string]             `json:"prompt,omitzero"`
	Model      latest[string]             `json:"model,omitzero"`
	Error      latest[string]             `json:"error,omitzero"`
	ExternalID latest[string]             `json:"external_id,omitzero"`
	Source     latest[string]             `json:"source,omitzero"`
	Duration   latest[time.Duration]      `json:"duration_ns,omitzero"`
	// Costs are in JSON.
	Costs latest[string] `json:"costs,omitzero"`
	// Missing is why a completed event has no link to a file. Complete reports that one
	// has them all.
	Missing  latest[string] `json:"missing,omitzero"`
	Complete bool           `json:"complete,omitempty"`
	// MaybeTest reports an event that may be a test callback, Real one that is not.
	MaybeTest bool `json:"maybe_test,omitempty"`
	Real      bool `json:"real,omitempty"`
}

// stamp orders events by time, then by rank, then by id. Stamps of different events
// always differ.
type stamp struct {
	At    time.Time `json:"at,omitzero"`
	Rank  int       `json:"rank,omitempty"`
	Event string    `json:"event"`
}

func stampOf(update tasks.JobUpdate) stamp {
	return stamp{At: update.OccurredAt.UTC(), Rank: rank(update.Status), Event: update.EventID}
}

func (s stamp) compare(o stamp) int {
	return cmp.Or(s.At.Compare(o.At), cmp.Compare(s.Rank, o.Rank), cmp.Compare(s.Event, o.Event))
}

// rank orders events of the same time by status. Ranks are stored in rows, so append new
// statuses.
func rank(s tasks.Status) int {
	return slices.Index([]tasks.Status{
		tasks.StatusCreated, tasks.StatusProcessing, tasks.StatusFailed, tasks.StatusCancelled, tasks.StatusCompleted, tasks.StatusLost, tasks.StatusTest,
	}, s) + 1
}

// latest is the value of the latest event that has one.
type latest[T comparable] struct {
	Value T     `json:"value"`
	Stamp stamp `json:"stamp"`
}

// offer replaces the value with a later one that is not zero.
func (l *latest[T]) offer(value T, from stamp) {
	var zero T
	if value != zero && (l.Value == zero || from.compare(l.Stamp) > 0) {
		*l = latest[T]{value, from}
	}
}

// apply adds an event.
func (f *facts) apply(source string, update tasks.JobUpdate) {
	from := stampOf(update)
	if update.Status != "" {
		if f.First == nil {
			f.First = make(map[tasks.Status]stamp)
		}
		if old, ok := f.First[update.Status]; !ok || from.compare(old) < 0 {
			f.First[update.Status] = from
		}
	}
	if update.Status.Terminal() && !update.FinishedAt.IsZero() {
		if f.Finished == nil {
			f.Finished = make(map[tasks.Status]time.Time)
		}
		f.Finished[update.Status] = earlier(f.Finished[update.Status], update.FinishedAt)
	}
	if update.Progress != nil && (f.Progress == nil || *update.Progress > *f.Progress) {
		p := *update.Progress
		f.Progress = &p
	}
	f.CreatedAt = earlier(f.CreatedAt, update.CreatedAt)
	f.Prompt.offer(update.Prompt, from)
	f.Model.offer(update.Model, from)
	f.Error.offer(update.Error, from)
	f.ExternalID.offer(update.ExternalID, from)
	f.Source.offer(source, from)
	f.Duration.offer(update.Duration, from)
	f.Costs.offer(costsText(update.Costs), from)
	if update.Status == tasks.StatusCompleted {
		f.Missing.offer(update.Missing, from)
		f.Complete = f.Complete || update.Missing == ""
	}
	f.MaybeTest = f.MaybeTest || update.MaybeTest
	f.Real = f.Real || !update.MaybeTest && update.Status != tasks.StatusLost && update.Status != tasks.StatusTest
}

// costsText returns costs in JSON; empty if there are none.
func costsText(costs []tasks.Cost) string {
	if len(costs) == 0 {
		return ""
	}
	text, _ := encode(costs) // cannot fail: they are strings
	return text
}

// earlier returns the earlier of two times, ignoring zero ones.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b.UTC()
	}
	return a
}

// view returns the job without FirstReceivedAt and LastReceivedAt.
func (f *facts) view(key tasks.JobKey) Job {
	status, contradicted := f.status()
	job := Job{
		Key: key, Status: status, Contradicted: contradicted,
		Progress: f.Progress, Prompt: f.Prompt.Value, Model: f.Model.Value,
		Duration: f.Duration.Value, Error: f.Error.Value,
		ExternalID: f.ExternalID.Value, Source: f.Source.Value,
		CreatedAt: f.CreatedAt, StartedAt: f.First[tasks.StatusProcessing].At,
		TestCallback: f.MaybeTest && !f.Real,
	}
	if f.Costs.Value != "" {
		_ = json.Unmarshal([]byte(f.Costs.Value), &job.Costs) // as costsText wrote it
	}
	if job.CreatedAt.IsZero() {
		job.CreatedAt = f.First[tasks.StatusCreated].At
	}
	if status.Terminal() {
		job.FinishedAt = f.Finished[status]
		if job.FinishedAt.IsZero() {
			job.FinishedAt = f.First[status].At
		}
	}
	if status == tasks.StatusCompleted {
		all := 100
		job.Progress, job.Error = &all, ""
		if !f.Complete {
			job.NoMedia = f.Missing.Value
		}
	}
	return job
}

// status returns the job's status. A completed job stays completed, even if other events
// say otherwise. If it both failed and was cancelled, the earlier event wins and
// contradicted is true. A lost job stops being lost with a later event, and a test callback
// becomes a job with the first event of a real job.
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
	case seen(tasks.StatusTest) && !f.Real:
		return tasks.StatusTest, false
	case f.Source.Stamp.Rank == rank(tasks.StatusLost):
		return tasks.StatusLost, false
	case seen(tasks.StatusProcessing):
		return tasks.StatusProcessing, false
	}
	return tasks.StatusCreated, false
}

const selectedJob = `
	SELECT platform, id, status, progress, prompt, model, duration_ms, error, external_id, source, contradicted,
		costs, no_media, ` + perhapsTest + `, created_at, started_at, finished_at, first_received_at, last_received_at, metadata`

const selectJob = selectedJob + ` FROM jobs `

func scanJob(row scanner) (Job, error) { return scanJobAnd(row) }

// scanJobAnd reads the columns of selectedJob and those after them.
func scanJobAnd(row scanner, rest ...any) (job Job, err error) {
	var ms int64
	var given metadata
	err = row.Scan(append([]any{&job.Key.Platform, &job.Key.ID, &job.Status, &job.Progress, &job.Prompt, &job.Model, &ms, &job.Error, &job.ExternalID, &job.Source, &job.Contradicted,
		asJSON{&job.Costs}, &job.NoMedia, &job.TestCallback, instant{&job.CreatedAt}, instant{&job.StartedAt}, instant{&job.FinishedAt}, instant{&job.FirstReceivedAt}, instant{&job.LastReceivedAt}, asJSON{&given}}, rest...)...)
	job.Duration = time.Duration(ms) * time.Millisecond
	given.describe(&job)
	if len(job.Costs) == 0 {
		job.Costs = nil // as view returns it
	}
	return job, err
}

// Job returns a job, or ErrNotFound.
func (s *Store) Job(ctx context.Context, key tasks.JobKey) (Job, error) {
	job, err := one(ctx, s.db, scanJob, selectJob+`WHERE platform = $1 AND id = $2`, key.Platform, key.ID)
	return job, wrap(err, "read job %s", key)
}

// JobFilter selects jobs. The zero value selects all.
type JobFilter struct {
	Platform string
	Status   tasks.Status
	Tag      string
	// IDs are ids on the platform; empty selects all.
	IDs []string
	// Since and Before bound the time of the latest news.
	Since, Before time.Time
	// Limit is the maximum number of jobs; 0 means no limit.
	Limit int
}

// Jobs returns the selected jobs, those with the latest news first.
func (s *Store) Jobs(ctx context.Context, f JobFilter) ([]Job, error) {
	conditions := s.selectedJobs(f)
	jobs, err := collect(ctx, s.db, scanJob, selectJob+conditions.String()+` ORDER BY last_received_at DESC, platform, id`+conditions.limit(f.Limit), conditions.args...)
	return jobs, wrap(err, "list jobs")
}

// JobKeys returns the keys of the selected jobs, those with the oldest news first.
func (s *Store) JobKeys(ctx context.Context, f JobFilter) ([]tasks.JobKey, error) {
	conditions := s.selectedJobs(f)
	keys, err := collect(ctx, s.db, scanKey, `SELECT platform, id FROM jobs`+conditions.String()+` ORDER BY last_received_at, platform, id`+conditions.limit(f.Limit), conditions.args...)
	return keys, wrap(err, "list jobs")
}

func (s *Store) selectedJobs(f JobFilter) (conditions where) {
	conditions.andIf(f.Platform != "", "platform = ?", f.Platform)
	conditions.andIf(f.Tag != "", "seq IN (SELECT seq FROM job_tags WHERE tag = ?)", f.Tag)
	conditions.andIf(f.Status != "", "status = ?", f.Status)
	conditions.andIf(!f.Since.IsZero(), "last_received_at >= ?", s.dialect.time(f.Since))
	conditions.andIf(!f.Before.IsZero(), "last_received_at < ?", s.dialect.time(f.Before))
	if len(f.IDs) > 0 {
		andIn(&conditions, "id", f.IDs)
	}
	return conditions
}

// TestCallbacks returns the statuses of the given jobs that may be test callbacks.
func (s *Store) TestCallbacks(ctx context.Context, jobs []tasks.JobKey) (map[tasks.JobKey]tasks.Status, error) {
	found := make(map[tasks.JobKey]tasks.Status)
	for chunk := range slices.Chunk(jobs, maxRows) {
		var conditions where
		conditions.andIf(true, perhapsTest)
		conditions.andJobs("id", chunk)
		list, err := collect(ctx, s.db, scanJob, selectJob+conditions.String(), conditions.args...)
		if err != nil {
			return nil, wrap(err, "list test callbacks")
		}
		for _, job := range list {
			found[job.Key] = job.Status
		}
	}
	return found, nil
}
