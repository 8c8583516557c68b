package notify

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Message is what a destination is told: one event, and its job as it stands.
// The package comment documents its JSON, which equal Messages share byte for
// byte.
type Message struct {
	// ID identifies the message to its receivers, as the webhook-id header. It
	// must be the same on every attempt and must not be empty.
	ID string
	// Type is the event's type, e.g. "video.completed".
	Type string
	// At is when the event was received, by this machine's clock.
	At time.Time
	// EventID is the event's idempotency key; may be empty.
	EventID string
	// Job is zero when the event belongs to none.
	Job Job
	// Media are the job's files.
	Media []Media
}

// Job is a video generation as the store has it when the message is made. Zero
// fields are not known.
type Job struct {
	ID     string
	Status tasks.Status
	// Progress is in percent, 0 to 100.
	Progress int
	Prompt   string
	Model    string
	// Duration is the length of the video.
	Duration time.Duration
	// Error is why the job failed, in Kling's words.
	Error string
	// ExternalID is the caller's own id of the job.
	ExternalID string
	// Source names the protocol that told of the job.
	Source                string
	CreatedAt, FinishedAt time.Time
	// Contradicted says that events disagreed about how the job ended.
	Contradicted bool
}

// Media is one file of a job. Zero fields are not known.
type Media struct {
	// Name is what the file is to its job: "video", "video-2", "thumbnail".
	Name string `json:"name"`
	// State is how far its download is, in the store's words.
	State string `json:"state,omitempty"`
	// Object is its key in the bucket.
	Object string `json:"object,omitempty"`
	// URL is Kling's link with its signature. Forwards get it whole, chat only
	// up to its query.
	URL string `json:"url,omitempty"`
	// Size is in bytes.
	Size int64 `json:"size,omitempty"`
	// SHA256 is of the content, in hex.
	SHA256      string `json:"sha256,omitempty"`
	ContentType string `json:"content_type,omitempty"`
}

// payload is a Message on the wire.
type payload struct {
	Type      string      `json:"type"`
	Timestamp time.Time   `json:"timestamp"`
	Data      payloadData `json:"data"`
}

type payloadData struct {
	EventID string     `json:"event_id,omitempty"`
	Job     payloadJob `json:"job,omitzero"`
	Media   []Media    `json:"media"`
}

type payloadJob struct {
	ID              string       `json:"id,omitempty"`
	Status          tasks.Status `json:"status,omitempty"`
	Progress        int          `json:"progress"`
	Prompt          string       `json:"prompt,omitempty"`
	Model           string       `json:"model,omitempty"`
	DurationSeconds float64      `json:"duration_seconds,omitempty"`
	Error           string       `json:"error,omitempty"`
	ExternalID      string       `json:"external_id,omitempty"`
	Source          string       `json:"source,omitempty"`
	CreatedAt       time.Time    `json:"created_at,omitzero"`
	FinishedAt      time.Time    `json:"finished_at,omitzero"`
	Contradicted    bool         `json:"contradicted"`
}

// body returns the JSON that a forward receives.
func (m Message) body() ([]byte, error) {
	media := m.Media
	if media == nil {
		media = []Media{}
	}
	body, err := json.Marshal(payload{
		Type:      m.Type,
		Timestamp: m.At.UTC(),
		Data: payloadData{
			EventID: m.EventID,
			Job: payloadJob{
				ID:              m.Job.ID,
				Status:          m.Job.Status,
				Progress:        m.Job.Progress,
				Prompt:          m.Job.Prompt,
				Model:           m.Job.Model,
				DurationSeconds: m.Job.Duration.Seconds(),
				Error:           m.Job.Error,
				ExternalID:      m.Job.ExternalID,
				Source:          m.Job.Source,
				CreatedAt:       m.Job.CreatedAt.UTC(),
				FinishedAt:      m.Job.FinishedAt.UTC(),
				Contradicted:    m.Job.Contradicted,
			},
			Media: media,
		},
	})
	if err != nil {
		// Only a time beyond the year 9999 gets here, and it will not come nearer.
		return nil, tasks.Permanent(fmt.Errorf("encode: %w", err))
	}
	return body, nil
}
