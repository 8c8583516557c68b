package notify

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Message is one event and its job as it is now. The package comment documents its
// JSON. Equal Messages have equal JSON.
type Message struct {
	// ID is the webhook-id header. It must be the same on every attempt and not empty.
	ID string
	// Type is the event's type, e.g. "video.completed".
	Type string
	// At is when klinghook received the event.
	At time.Time
	// EventID is the event's idempotency key; may be empty.
	EventID string
	// Job is zero if the event belongs to none.
	Job JobDetails
	// Media are the job's files.
	Media []MediaDetails
	// Title and Text, if set, are what chat shows instead of the event.
	Title, Text string
}

// JobDetails describe a video generation. Unknown fields are zero.
type JobDetails struct {
	// Platform is where the job runs: "kling".
	Platform string       `json:"platform,omitempty"`
	ID       string       `json:"id,omitempty"`
	Status   tasks.Status `json:"status,omitempty"`
	// Progress is in percent, 0 to 100.
	Progress int    `json:"progress"`
	Prompt   string `json:"prompt,omitempty"`
	Model    string `json:"model,omitempty"`
	// Duration is the length of the video.
	Duration Seconds `json:"duration_seconds,omitempty"`
	// Error is why the job failed, in Kling's words.
	Error string `json:"error,omitempty"`
	// ExternalID is the caller's own id of the job.
	ExternalID string `json:"external_id,omitempty"`
	// Source is the protocol of the event.
	Source     string    `json:"source,omitempty"`
	CreatedAt  time.Time `json:"created_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	// Costs are what the job cost, in each unit or currency.
	Costs []tasks.Cost `json:"costs,omitempty"`
	// NoMediaReason is why a completed job lacks a file; NoMedia reports that it does.
	NoMedia       bool   `json:"no_media,omitempty"`
	NoMediaReason string `json:"no_media_reason,omitempty"`
	// Tags, ExpectedCost and Metadata are what the program that submitted the job says.
	Tags         []string        `json:"tags,omitempty"`
	ExpectedCost tasks.Cost      `json:"expected_cost,omitzero"`
	Metadata     json.RawMessage `json:"metadata,omitempty"`
	// Contradicted reports that events disagree about how the job ended.
	Contradicted bool `json:"contradicted"`
}

// MediaDetails describe one file of a job. Unknown fields are zero.
type MediaDetails struct {
	// Name is "video", "video-2" or "thumbnail".
	Name string `json:"name"`
	// State is the state of its download, in the store's words.
	State string `json:"state,omitempty"`
	// Object is its key in the bucket.
	Object string `json:"object,omitempty"`
	// URL is Kling's signed link. Chat shows it without its query.
	URL string `json:"url,omitempty"`
	// Size is in bytes.
	Size int64 `json:"size,omitempty"`
	// SHA256 is of the content, in hex.
	SHA256      string `json:"sha256,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	// DownloadURL is a signed link to the stored file, which expires; empty if the bucket
	// signs none. Chat does not show it.
	DownloadURL          string    `json:"download_url,omitempty"`
	DownloadURLExpiresAt time.Time `json:"download_url_expires_at,omitzero"`
}

// Seconds is a duration whose JSON is a number of seconds.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// body returns the JSON that a forward sends.
func (m Message) body() ([]byte, error) {
	m.Job.CreatedAt, m.Job.FinishedAt = m.Job.CreatedAt.UTC(), m.Job.FinishedAt.UTC()
	if m.Media == nil {
		m.Media = []MediaDetails{}
	}
	type data struct {
		EventID string         `json:"event_id,omitempty"`
		Job     JobDetails     `json:"job,omitzero"`
		Media   []MediaDetails `json:"media"`
	}
	body, err := json.Marshal(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      data      `json:"data"`
	}{m.Type, m.At.UTC(), data{m.EventID, m.Job, m.Media}})
	if err != nil { // a time after the year 9999
		return nil, tasks.Permanent(fmt.Errorf("encode: %w", err))
	}
	return body, nil
}
