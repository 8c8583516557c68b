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
	Status          tasks.Status `json:"status" enum:"created,processing,completed,failed,cancelled,lost,test" doc:"lost is a job without news for too long; test is a test callback of Kling's console."`
	Progress        *int         `json:"progress" doc:"In percent; null if unknown."`
	Prompt          string       `json:"prompt,omitempty"`
	Model           string       `json:"model,omitempty"`
	DurationSeconds float64      `json:"duration_seconds,omitempty" doc:"The length of the first video."`
	Error           string       `json:"error,omitempty" doc:"Why the job failed, in the sender's words."`
	ExternalID      string       `json:"external_id,omitempty" doc:"Your own id of the job."`
	Source          string       `json:"source,omitempty" doc:"The protocol of the latest event."`
	Contradicted    bool         `json:"contradicted" doc:"Whether events reported two final states."`
	VideoMissing    bool         `json:"video_missing" doc:"Whether a video of a completed job is not stored."`
	NoMedia         bool         `json:"no_media" doc:"Whether Kling has not said where a file of a completed job is."`
	NoMediaReason   string       `json:"no_media_reason,omitempty"`
	TestCallback    bool         `json:"test_callback" doc:"Whether all that came looks like the test callback of Kling's console."`
	Costs           []tasks.Cost `json:"costs,omitempty" doc:"What the job cost: one entry for each kind and unit."`
	CreatedAt       time.Time    `json:"created_at,omitzero" doc:"By Kling's clock, as started_at and finished_at."`
	StartedAt       time.Time    `json:"started_at,omitzero"`
	FinishedAt      time.Time    `json:"finished_at,omitzero"`
	FirstReceivedAt time.Time    `json:"first_received_at" doc:"When klinghook first heard of the job."`
	LastReceivedAt  time.Time    `json:"last_received_at" doc:"When klinghook last had news of it."`

	Tags         []string        `json:"tags,omitempty"`
	ExpectedCost *tasks.Cost     `json:"expected_cost,omitempty"`
	Metadata     json.RawMessage `json:"metadata,omitempty" doc:"The object that your program gave."`
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
	State       string    `json:"state" enum:"pending,stored,failed,deleted"`
	URL         string    `json:"url" doc:"Kling's link. The API leaves out its query, which has a signature."`
	Object      string    `json:"object,omitempty" doc:"The file's name in the bucket."`
	Size        int64     `json:"size,omitempty" doc:"In bytes."`
	SHA256      string    `json:"sha256,omitempty"`
	ContentType string    `json:"content_type,omitempty"`
	Error       string    `json:"error,omitempty" doc:"Why the last download failed."`
	StoredAt    time.Time `json:"stored_at,omitzero"`
	// DownloadURL is a signed link in "jobs show --json", and a path in the API.
	DownloadURL          string    `json:"download_url,omitempty" doc:"Where to download the stored file: in the API a path on this server."`
	DownloadURLExpiresAt time.Time `json:"download_url_expires_at,omitzero"`
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
	ID          string        `json:"id"`
	Type        string        `json:"type" example:"video.completed"`
	Destination string        `json:"destination"`
	State       string        `json:"state" enum:"pending,sent,failed"`
	Error       string        `json:"error,omitempty"`
	SentAt      time.Time     `json:"sent_at,omitzero"`
	CreatedAt   time.Time     `json:"created_at,omitzero"`
	Attempts    []SendAttempt `json:"attempts,omitempty" doc:"The attempts that are still kept, the oldest first."`
}

// SendAttempt is an attempt to send a notification.
type SendAttempt struct {
	At              time.Time `json:"at"`
	DurationSeconds float64   `json:"duration_seconds"`
	Status          int       `json:"status,omitempty" doc:"The HTTP status of a forward's answer."`
	Answer          string    `json:"answer,omitempty" doc:"The start of the answer."`
	Error           string    `json:"error,omitempty"`
}

// Event is an event without its headers and body.
type Event struct {
	ID          string    `json:"id"`
	Source      string    `json:"source" doc:"The protocol." example:"klingai"`
	Type        string    `json:"type" example:"video.completed"`
	Platform    string    `json:"platform,omitempty"`
	JobID       string    `json:"job_id,omitempty"`
	ReceivedAt  time.Time `json:"received_at"`
	ProcessedAt time.Time `json:"processed_at,omitzero" doc:"When downloads and notifications were queued."`
	Secret      string    `json:"secret,omitempty" doc:"The fingerprint of the secret that verified it."`
	// TestCallback reports an event of what may be a test callback.
	TestCallback bool `json:"test_callback,omitempty" doc:"Whether it looks like the test callback of Kling's console."`
	// Repeat and Late are set in a job's list of events.
	Repeat bool `json:"repeat,omitempty" doc:"Whether an earlier event had the same body."`
	Late   bool `json:"late,omitempty" doc:"Whether an earlier event reported a later state."`
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
	Asked       int       `json:"asked" doc:"How often Kling was asked since the job last moved."`
	NextAt      time.Time `json:"next_at,omitzero" doc:"When Kling is asked next."`
	RequestedAt time.Time `json:"requested_at,omitzero" doc:"When an unanswered look-up was requested."`
	RetryAt     time.Time `json:"retry_at,omitzero" doc:"When the requested look-up is tried again."`
}

// DeadLetter is a task that was given up.
type DeadLetter struct {
	ID       int64           `json:"id"`
	Kind     string          `json:"kind" example:"media:download"`
	TaskID   string          `json:"task_id"`
	Platform string          `json:"platform,omitempty"`
	JobID    string          `json:"job_id,omitempty"`
	EventID  string          `json:"event_id,omitempty"`
	Error    string          `json:"error" doc:"The last error."`
	FailedAt time.Time       `json:"failed_at"`
	State    string          `json:"state" enum:"dead,replayed,discarded,done" doc:"dead waits for a person; done was done after all."`
	EndedAt  time.Time       `json:"ended_at,omitzero"`
	Failures []store.Failure `json:"failures,omitempty" doc:"The failed attempts, the oldest first."`
	// Payload and PayloadBase64 are set in "deadletters show --json".
	Payload       string `json:"payload,omitempty"`
	PayloadBase64 []byte `json:"payload_base64,omitempty"`
}

// NewDeadLetter returns a stored dead letter without payload and failures.
func NewDeadLetter(letter store.DeadLetter) DeadLetter {
	return DeadLetter{
		ID: letter.ID, Kind: string(letter.Task.Kind), TaskID: letter.Task.ID, Platform: letter.Job.Platform, JobID: letter.Job.ID, EventID: letter.EventID,
		Error: letter.Error, FailedAt: letter.FailedAt, State: string(letter.State), EndedAt: letter.EndedAt,
	}
}

// TaskFailure is a failed attempt of a task that will be retried.
type TaskFailure struct {
	TaskID  string    `json:"task_id"`
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
	Error   string    `json:"error"`
}

// JobDetail is everything that is known about a job.
type JobDetail struct {
	Job
	Media         []Media        `json:"media"`
	Notifications []Notification `json:"notifications" doc:"The oldest first."`
	Events        []Event        `json:"events" doc:"The last received first, at most 500."`
	Lookups       Lookups        `json:"lookups"`
	Failures      []TaskFailure  `json:"failures,omitempty" doc:"Failed attempts of downloads and notifications that are retried, the oldest first."`
	DeadLetters   []DeadLetter   `json:"dead_letters,omitempty" doc:"By id, with those that ended."`
}
