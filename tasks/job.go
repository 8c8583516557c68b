package tasks

import (
	"strconv"
	"time"
)

// Status is how far Kling's job is. A job only moves forward:
// created < processing < {completed, failed, cancelled}.
type Status string

// The statuses of a job, in the seed protocol's words.
const (
	StatusCreated    Status = "created"
	StatusProcessing Status = "processing"
	StatusCompleted  Status = "completed"
	StatusFailed     Status = "failed"
	StatusCancelled  Status = "cancelled"
	// StatusLost is klinghook's own word for a job of which nothing was heard for so
	// long that nobody waits for it any more. Whatever is heard of it later counts.
	StatusLost Status = "lost"
)

// Terminal reports whether Kling sends nothing more of a job in this status.
func (s Status) Terminal() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusCancelled
}

// The event types of the seed protocol. The official protocol's statuses are
// given the same names.
const (
	TypeCreated    = "video.created"
	TypeProcessing = "video.processing"
	TypeCompleted  = "video.completed"
	TypeFailed     = "video.failed"
	TypeCancelled  = "video.cancelled"
)

// TypeLost is the type of the event with which klinghook itself gives a job up.
// Kling does not send it.
const TypeLost = "video.lost"

// KnownTypes returns the event types that move a job, in a job's order.
func KnownTypes() []string {
	return []string{TypeCreated, TypeProcessing, TypeCompleted, TypeFailed, TypeCancelled}
}

// JobUpdate is what one event says of its job, whichever protocol said it. A
// zero field says nothing. Updates may arrive in any order and more than once.
type JobUpdate struct {
	JobID string
	// Unproven reports that the sender did not prove who it is: nothing is said of
	// the job, but Kling is to be asked about it.
	Unproven bool
	// API is where Kling keeps the job: APITasks, APILegacy, or one kind of the
	// legacy API, such as "text2video".
	API string
	// EventID is the event that says it; it breaks ties between updates of the
	// same OccurredAt.
	EventID string
	// OccurredAt is the sender's time of the event; zero when it gave none that
	// can be read.
	OccurredAt time.Time
	Status     Status
	// Progress is in percent, 0 to 100; nil when the event has none.
	Progress *int
	Prompt   string
	Model    string
	// Duration is the length of the video.
	Duration time.Duration
	// Error is why the job failed, as the sender words it.
	Error string
	// ExternalID is the caller's own id of the job (official protocol only).
	ExternalID string
	// CreatedAt and FinishedAt are the sender's times of the job itself.
	CreatedAt, FinishedAt time.Time
	Media                 []MediaLink
}

// Where Kling keeps a job. Of a legacy one, [APILegacy] leaves the kind open.
const (
	APITasks  = "tasks"
	APILegacy = "legacy"
)

// MediaLink is a file that belongs to a job and where to fetch it.
type MediaLink struct {
	// Name is what the file is to its job: "video", "video-2", "thumbnail".
	Name string
	// URL is the sender's link; it carries a signature in its query, so it is
	// never logged whole.
	URL string
	// Renews is the dead link in whose place Kling gave this one when it was asked;
	// empty for a link that came by itself.
	Renews string
}

// The names of a job's media. Further videos are "video-2", "video-3", …
const (
	MediaVideo     = "video"
	MediaThumbnail = "thumbnail"
)

// VideoName returns the media name of a job's i-th video, counted from 0.
func VideoName(i int) string {
	if i == 0 {
		return MediaVideo
	}
	return MediaVideo + "-" + strconv.Itoa(i+1)
}
