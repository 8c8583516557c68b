package tasks

import "time"

// Status is the status of Kling's job. A job only moves forward:
// created < processing < {completed, failed, cancelled}.
type Status string

// The statuses of a job, in the seed protocol's words.
const (
	StatusCreated    Status = "created"
	StatusProcessing Status = "processing"
	StatusCompleted  Status = "completed"
	StatusFailed     Status = "failed"
	StatusCancelled  Status = "cancelled"
	// StatusLost is klinghook's own status for a job without events for too long. Later
	// events still update it.
	StatusLost Status = "lost"
	// StatusTest is klinghook's own status for a test callback of Kling's console, which
	// belongs to no job. A later event shows that it was a job after all.
	StatusTest Status = "test"
)

// Statuses returns all statuses.
func Statuses() []Status {
	return []Status{StatusCreated, StatusProcessing, StatusCompleted, StatusFailed, StatusCancelled, StatusLost, StatusTest}
}

// Terminal reports whether a job in this status is over.
func (s Status) Terminal() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusCancelled
}

// EventType returns the type of the event that reports this status.
func (s Status) EventType() string { return "video." + string(s) }

// The event types of the seed protocol. The official protocol's statuses are mapped to
// them.
const (
	TypeCreated    = "video.created"
	TypeProcessing = "video.processing"
	TypeCompleted  = "video.completed"
	TypeFailed     = "video.failed"
	TypeCancelled  = "video.cancelled"
)

// TypeLost is the type of the event that klinghook creates when it gives up on a job.
// Kling never sends it.
const TypeLost = "video.lost"

// TypeTest is the type of the event that klinghook creates for a callback that looks like
// a test and names a job that Kling does not know.
const TypeTest = "video.test"

// KnownTypes returns the event types that move a job, in the order of a job's life.
func KnownTypes() []string {
	return []string{TypeCreated, TypeProcessing, TypeCompleted, TypeFailed, TypeCancelled}
}

// JobUpdate is what one event says about its job, in any protocol. A zero field says
// nothing. Updates may arrive in any order and more than once.
type JobUpdate struct {
	Job JobKey
	// Unproven reports that the sender is unknown: the update changes nothing, but is a
	// hint to query Kling.
	Unproven bool
	// MaybeTest reports that the event looks like the test callback of Kling's console. A
	// job's first event may look the same.
	MaybeTest bool
	// API is where Kling keeps the job: APITasks, APILegacy, or one kind of the
	// legacy API, such as "text2video".
	API string
	// EventID is the update's event. It breaks ties between updates with the same
	// OccurredAt.
	EventID string
	// OccurredAt is the sender's time of the event; zero when it is missing or cannot be
	// read.
	OccurredAt time.Time
	Status     Status
	// Progress is in percent, 0 to 100; nil when the event has none.
	Progress *int
	Prompt   string
	Model    string
	// Duration is the length of the video.
	Duration time.Duration
	// Error is why the job failed, in the sender's words.
	Error string
	// ExternalID is the caller's own id of the job (official protocol only).
	ExternalID string
	// CreatedAt and FinishedAt are the sender's times of the job itself.
	CreatedAt, FinishedAt time.Time
	// Media are the links to the files of a completed job.
	Media []MediaLink
	// Missing is why a result of a completed job has no link; empty if none lacks one.
	Missing string
	// Costs are what the job cost so far, one entry for each kind and unit.
	Costs []Cost
}

// Where Kling keeps a job. [APILegacy] is a legacy job of unknown kind.
const (
	APITasks  = "tasks"
	APILegacy = "legacy"
)

// MediaLink is a file that belongs to a job and where to fetch it.
type MediaLink struct {
	// Name identifies the file within its job; see [MediaName].
	Name string
	// URL is the sender's link. Its query contains a signature: never log it whole.
	URL string
	// Renews is the expired link that this one replaces; empty if klinghook did not
	// request it.
	Renews string
}
