package worker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// Observer is told what a worker does, as it does it: it is for a person who looks
// on. Its methods are called from several goroutines at once, and hold up the work
// meanwhile. What it is told may be a stranger's text.
type Observer interface {
	// Downloading is told that a file of a job is being fetched from a host, which one
	// attempt may do twice. What it returns is called as bytes come: how many there are
	// of how many, the latter -1 where the server does not say. After a restart there
	// are fewer.
	Downloading(jobID, name, host string) (progress func(received, total int64))
	// Attempted is told how an attempt ended.
	Attempted(a Attempt)
}

// Outcome is how an attempt ended.
type Outcome int

// The outcomes.
const (
	// Done is success.
	Done Outcome = iota
	// Retried will be followed by another attempt.
	Retried
	// GivenUp was the last attempt: there is a dead letter.
	GivenUp
	// Interrupted was ended by a shutdown, and counts as no attempt.
	Interrupted
)

// Attempt is what an [Observer] is told of one run of a task. Fields that a kind of
// task does not have are empty.
type Attempt struct {
	Kind    tasks.Kind
	Outcome Outcome
	// Number counts from 1; Last is the number of the last one there can be.
	Number, Last int
	Took         time.Duration
	// Err is why it failed, nil when it did not. RetryIn is how long the next attempt
	// waits.
	Err     error
	RetryIn time.Duration

	JobID string
	// EventID and EventType are of the event that was recorded.
	EventID, EventType string
	// JobError is why the job failed at Kling, when that is what the event says.
	JobError string
	// Media is the name of the file that was to be downloaded. Once it is stored, Size
	// is in bytes, and Location where it is: a path, or the URL of an object in a cloud.
	Media    string
	Size     int64
	Location string
	// Destination was to be told of Message, an event's type.
	Destination, Message string
}

// tell tells of an attempt: the observer, or else the log.
func (w *Worker) tell(ctx context.Context, a attempt, end Attempt) {
	if w.cfg.Observer != nil {
		end.Kind, end.Number, end.Last, end.Took = a.task.Kind, a.number, a.last, a.took
		w.describe(ctx, a, &end)
		w.cfg.Observer.Attempted(end)
		return
	}
	switch end.Outcome {
	case Done:
		w.cfg.Log.Info("task done", a.fields()...)
	case Retried:
		w.cfg.Log.Warn("task will be retried", a.fields(zap.Duration("retry_in", end.RetryIn), zap.Error(end.Err))...)
	case GivenUp:
		w.cfg.Log.Error("task given up", a.fields(zap.Error(end.Err))...)
	case Interrupted:
		w.cfg.Log.Warn("task interrupted", a.fields()...)
	}
}

// describe says what an attempt was about. What cannot be read is left out: the
// attempt has ended, whatever is told of it.
func (w *Worker) describe(ctx context.Context, a attempt, end *Attempt) {
	end.JobID, end.EventID = a.handler.about(a.task.Payload)
	switch a.task.Kind {
	case tasks.KindEventRecord:
		ev, _ := tasks.DecodeEvent(a.task.Payload)
		end.EventType = ev.Type
		if job, err := w.cfg.Store.Job(ctx, ev.JobID); err == nil && ev.Type == tasks.TypeFailed {
			end.JobError = job.Error
		}
	case tasks.KindMediaDownload:
		p, _ := tasks.DecodeMediaDownload(a.task.Payload)
		end.Media = p.Name
		if m, err := w.cfg.Store.Medium(ctx, p.JobID, p.Name); err == nil && m.State == store.MediaStored && end.Outcome == Done {
			end.Size, end.Location = m.Size, w.cfg.Bucket.Location(m.Object)
		}
	case tasks.KindNotifySend:
		p, _ := tasks.DecodeNotifySend(a.task.Payload)
		if n, err := w.cfg.Store.Notification(ctx, p.NotificationID); err == nil {
			end.Destination, end.Message = n.Destination, n.Type
		}
	}
}

// downloading tells that a file is being fetched, and returns who is to be told how
// far that is; nil for nobody.
func (w *Worker) downloading(m store.Media) func(received, total int64) {
	if w.cfg.Observer == nil {
		return nil
	}
	return w.cfg.Observer.Downloading(m.JobID, m.Name, hostOf(m.URL))
}
