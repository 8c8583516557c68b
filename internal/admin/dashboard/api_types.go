package dashboard

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// The types below are what the API and klinghook's --json print. Programs read these names.

// Job is a job as its events describe it so far.
type Job struct {
	Platform        string       `json:"platform" doc:"Where the job runs." example:"kling"`
	ID              string       `json:"id" doc:"The platform's id of the job."`
	Status          tasks.Status `json:"status" enum:"created,processing,completed,failed,cancelled,lost,test" doc:"lost: without news for too long, later events still count; test: the job of a test callback of Kling's console."`
	Progress        *int         `json:"progress" doc:"In percent; null if unknown."`
	Prompt          string       `json:"prompt,omitempty" doc:"From an event or a program."`
	Model           string       `json:"model,omitempty" doc:"From an event or a program."`
	DurationSeconds float64      `json:"duration_seconds,omitempty" doc:"The length of the first video."`
	Error           string       `json:"error,omitempty" doc:"Why the job failed, in Kling's words."`
	ExternalID      string       `json:"external_id,omitempty" doc:"Your own id of the job."`
	Source          string       `json:"source,omitempty" example:"klingai" doc:"The protocol of the latest event; lookup if klinghook asked Kling."`
	Contradicted    bool         `json:"contradicted" doc:"Whether events reported two different final states."`
	VideoMissing    bool         `json:"video_missing" doc:"Whether a video of a completed job is not stored."`
	NoMedia         bool         `json:"no_media" doc:"Whether the job is completed, but Kling gave no link to a file."`
	NoMediaReason   string       `json:"no_media_reason,omitempty" doc:"The missing file, if no_media is true."`
	TestCallback    bool         `json:"test_callback" doc:"Whether the only event looks like the test callback of Kling's console."`
	Costs           []tasks.Cost `json:"costs,omitempty" doc:"What the job cost: one entry for each kind and unit."`
	CreatedAt       time.Time    `json:"created_at,omitzero" doc:"When Kling created the job, by Kling's clock."`
	StartedAt       time.Time    `json:"started_at,omitzero" doc:"When Kling started it, by Kling's clock."`
	FinishedAt      time.Time    `json:"finished_at,omitzero" doc:"When it ended, by Kling's clock."`
	FirstReceivedAt time.Time    `json:"first_received_at" doc:"When klinghook first heard of the job."`
	LastReceivedAt  time.Time    `json:"last_received_at" doc:"When klinghook last had news of it."`

	Tags         []string        `json:"tags,omitempty" doc:"The tags that your program gave."`
	ExpectedCost *tasks.Cost     `json:"expected_cost,omitempty" doc:"The cost that your program gave."`
	Metadata     json.RawMessage `json:"metadata,omitempty" doc:"The object that your program gave, unchanged."`
}

// NewJob returns a stored job without VideoMissing.
func NewJob(job store.Job) Job {
	shown := Job{
		Platform: job.Key.Platform, ID: job.Key.ID, Status: job.Status, Progress: job.Progress, Prompt: job.Prompt, Model: job.Model,
		DurationSeconds: job.Duration.Seconds(), Error: job.Error, ExternalID: job.ExternalID, Source: job.Source,
		Contradicted: job.Contradicted, VideoMissing: job.NoMedia != "", NoMedia: job.NoMedia != "", NoMediaReason: job.NoMedia, TestCallback: job.TestCallback,
		Costs: job.Costs, CreatedAt: job.CreatedAt, StartedAt: job.StartedAt, FinishedAt: job.FinishedAt,
		FirstReceivedAt: job.FirstReceivedAt, LastReceivedAt: job.LastReceivedAt, Tags: job.Tags, Metadata: job.Metadata,
	}
	if job.ExpectedCost != (tasks.Cost{}) {
		shown.ExpectedCost = &job.ExpectedCost
	}
	return shown
}

// videoMissing reports whether a video of a completed job is not stored.
func videoMissing(job store.Job, files []store.Media) bool {
	return job.NoMedia != "" || job.Status == tasks.StatusCompleted && slices.ContainsFunc(files, func(file store.Media) bool {
		return file.State != store.MediaStored && file.State != store.MediaDeleted && file.Name != string(tasks.MediaThumbnail)
	})
}

// Key returns the job's key.
func (j Job) Key() tasks.JobKey { return tasks.JobKey{Platform: j.Platform, ID: j.ID} }

// Media is a file of a job.
type Media struct {
	Name        string    `json:"name" doc:"Unique within the job, such as video or thumbnail."`
	State       string    `json:"state" enum:"pending,stored,failed,deleted" doc:"pending: not stored yet; failed: given up; deleted: after its retention."`
	URL         string    `json:"url" doc:"Kling's link. An ellipsis replaces its query, which has a signature."`
	Object      string    `json:"object,omitempty" doc:"The file's name in the bucket."`
	Size        int64     `json:"size,omitempty" doc:"In bytes."`
	SHA256      string    `json:"sha256,omitempty" doc:"Of the stored file, in hexadecimal."`
	ContentType string    `json:"content_type,omitempty" example:"video/mp4" doc:"The type that the file's content shows."`
	Error       string    `json:"error,omitempty" doc:"Why the last download failed."`
	StoredAt    time.Time `json:"stored_at,omitzero" doc:"When the file was stored."`
	// DownloadURL is a signed link in "jobs show --json", and a path in the API.
	DownloadURL          string    `json:"download_url,omitempty" doc:"The path of the stored file on this server; see get-media."`
	DownloadURLExpiresAt time.Time `json:"download_url_expires_at,omitzero" doc:"Only in the output of klinghook jobs show --json."`
}

// NewMedia returns a stored job's file without DownloadURL.
func NewMedia(file store.Media) Media {
	return Media{
		Name: file.Name, State: string(file.State), URL: file.URL, Object: file.Object, Size: file.Size,
		SHA256: file.SHA256, ContentType: file.ContentType, Error: file.Error, StoredAt: file.StoredAt,
	}
}

// Notification is a message about a job to one destination.
type Notification struct {
	ID          string        `json:"id" doc:"The webhook-id of a forward."`
	Type        string        `json:"type" example:"video.completed" doc:"The event that it reports."`
	Destination string        `json:"destination" doc:"The name of the destination."`
	State       string        `json:"state" enum:"pending,sent,failed" doc:"pending: not sent yet; failed: given up."`
	Error       string        `json:"error,omitempty" doc:"Why the last attempt failed."`
	SentAt      time.Time     `json:"sent_at,omitzero" doc:"When it was sent."`
	CreatedAt   time.Time     `json:"created_at,omitzero" doc:"When it became due."`
	Attempts    []SendAttempt `json:"attempts,omitempty" doc:"Its attempts, oldest first, if they are among the latest 10,000 to the destination."`
}

// SendAttempt is an attempt to send a notification.
type SendAttempt struct {
	At              time.Time `json:"at" doc:"When it began."`
	DurationSeconds float64   `json:"duration_seconds" doc:"How long it took."`
	Status          int       `json:"status,omitempty" doc:"The HTTP status of the answer to a forward."`
	Answer          string    `json:"answer,omitempty" doc:"The first KiB of the answer."`
	Error           string    `json:"error,omitempty" doc:"Missing if it succeeded."`
}

// NewSendAttempt returns a stored attempt.
func NewSendAttempt(attempt store.SendAttempt) SendAttempt {
	return SendAttempt{attempt.At, attempt.Duration.Seconds(), attempt.Status, attempt.Answer, attempt.Error}
}

// Event is an event without its headers and body.
type Event struct {
	ID          string    `json:"id" doc:"Starts with the protocol." example:"klingai:247582a5"`
	Source      string    `json:"source" doc:"The protocol; lookup for an answer to klinghook's own question." example:"klingai"`
	Type        string    `json:"type" doc:"video. and the status that it reports, for images and audio too; or another type, such as unreadable for a body that klinghook does not understand." example:"video.completed"`
	Platform    string    `json:"platform,omitempty" doc:"The platform of the job."`
	JobID       string    `json:"job_id,omitempty" doc:"The job that it is about."`
	ReceivedAt  time.Time `json:"received_at" doc:"When klinghook received it."`
	ProcessedAt time.Time `json:"processed_at,omitzero" doc:"When downloads and notifications were queued."`
	Secret      string    `json:"secret,omitempty" doc:"The fingerprint of the secret that verified it."`
	// TestCallback reports an event of what may be a test callback.
	TestCallback bool `json:"test_callback,omitempty" doc:"Whether it looks like the test callback of Kling's console."`
	// Repeat and Late are set in a job's list of events.
	Repeat bool `json:"repeat,omitempty" doc:"Whether an earlier event had the same body. Only in a job's events."`
	// RepeatedAt is only in the API and on the job's page.
	RepeatedAt []time.Time `json:"repeated_at,omitempty" doc:"When it was delivered again, oldest first: the last 20 times within 30 days. Only in a job's events."`
	Late       bool        `json:"late,omitempty" doc:"Whether an earlier event reported a later state. Only in a job's events."`
}

// NewEvent returns a stored event.
func NewEvent(event store.StoredEvent) Event {
	return Event{
		ID: event.ID, Source: event.Source, Type: event.Type, Platform: event.Job.Platform, JobID: event.Job.ID, ReceivedAt: event.ReceivedAt,
		ProcessedAt: event.ProcessedAt, Secret: event.Secret,
	}
}

// Lookups are the look-ups of a job.
type Lookups struct {
	API         string    `json:"api,omitempty" doc:"Where Kling keeps the job."`
	TrackedAt   time.Time `json:"tracked_at,omitzero" doc:"When a program first tracked the job."`
	Asked       int       `json:"asked" doc:"How often Kling was asked since the job last changed."`
	NextAt      time.Time `json:"next_at,omitzero" doc:"When Kling is asked next without a request. Missing if the job has ended."`
	RequestedAt time.Time `json:"requested_at,omitzero" doc:"When a look-up was requested that has no answer yet."`
	RetryAt     time.Time `json:"retry_at,omitzero" doc:"When the requested look-up is tried again after it failed."`

	Answers []LookupAnswer `json:"answers,omitempty" doc:"The last 100 times that Kling was asked, oldest first."`
}

// LookupAnswer is what came of asking Kling about a job.
type LookupAnswer struct {
	At              time.Time `json:"at" doc:"When Kling was asked."`
	DurationSeconds float64   `json:"duration_seconds" doc:"How long the answer took."`
	Outcome         string    `json:"outcome" enum:"found,unknown,unclear,failed" doc:"found: Kling answered, and what changed is an event; unknown: Kling does not know the job; unclear: no usable answer; failed: Kling refused or could not be reached."`
	Error           string    `json:"error,omitempty" doc:"Why the outcome is unclear or failed."`
}

func newLookupAnswer(answer store.LookupAnswer) LookupAnswer {
	return LookupAnswer{answer.At, answer.Took.Seconds(), answer.Outcome, answer.Error}
}

// DeadLetter is a task that was given up.
type DeadLetter struct {
	ID       int64           `json:"id" doc:"The dead letter's id."`
	Kind     string          `json:"kind" example:"media:download" doc:"The kind of the task."`
	TaskID   string          `json:"task_id" doc:"The task's id in the queue."`
	Platform string          `json:"platform,omitempty" doc:"The platform of the job."`
	JobID    string          `json:"job_id,omitempty" doc:"The job that the task is about."`
	EventID  string          `json:"event_id,omitempty" doc:"The event that the task is about."`
	Error    string          `json:"error" doc:"The last error."`
	FailedAt time.Time       `json:"failed_at" doc:"When the task was given up."`
	State    string          `json:"state" enum:"dead,replayed,discarded,done" doc:"dead: open, waits for a person; done: the work succeeded some other way."`
	EndedAt  time.Time       `json:"ended_at,omitzero" doc:"When it was replayed, discarded or done."`
	Failures []store.Failure `json:"failures,omitempty" doc:"The failed attempts, oldest first."`
}

// NewDeadLetter returns a stored dead letter without its payload.
func NewDeadLetter(letter store.DeadLetter) DeadLetter {
	return DeadLetter{
		ID: letter.ID, Kind: string(letter.Task.Kind), TaskID: letter.Task.ID, Platform: letter.Job.Platform, JobID: letter.Job.ID, EventID: letter.EventID,
		Error: letter.Error, FailedAt: letter.FailedAt, State: string(letter.State), EndedAt: letter.EndedAt, Failures: letter.Failures,
	}
}

// TaskAttempt is an attempt of a task: one that failed and was not the last, or a download
// that stored a file.
type TaskAttempt struct {
	TaskID          string    `json:"task_id" doc:"The task's id in the queue."`
	Attempt         int       `json:"attempt" doc:"From 1."`
	At              time.Time `json:"at" doc:"When it began."`
	DurationSeconds float64   `json:"duration_seconds,omitempty" doc:"How long it took. Missing if unknown."`
	Error           string    `json:"error,omitempty" doc:"Why it failed. Missing if it stored a file."`
	Size            int64     `json:"size,omitempty" doc:"Of the stored file, in bytes."`
}

func newTaskAttempt(attempt store.TaskAttempt) TaskAttempt {
	return TaskAttempt{attempt.TaskID, attempt.Number, attempt.At, attempt.Duration.Seconds(), attempt.Error, attempt.Size}
}

// JobDetail is everything known about a job.
type JobDetail struct {
	Job
	Media         []Media        `json:"media" doc:"The files of the job."`
	Notifications []Notification `json:"notifications" doc:"The oldest first."`
	Events        []Event        `json:"events" doc:"The last received first, at most 500."`
	Lookups       Lookups        `json:"lookups" doc:"When Kling was and will be asked about the job."`
	Attempts      []TaskAttempt  `json:"attempts,omitempty" doc:"Attempts to record events, to download files and to send notifications, oldest first: those that failed and were not the last, and downloads that stored a file. Dead letters have their own."`
	DeadLetters   []DeadLetter   `json:"dead_letters,omitempty" doc:"In the order of their ids, including those that ended."`
}
