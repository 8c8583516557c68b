package worker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// Observer watches a worker, for a person at a terminal. Its methods are called from
// several goroutines at once and delay the work. Texts may come from strangers.
type Observer interface {
	// Downloading is called when a download from a host starts, up to twice per attempt.
	// progress is called as bytes arrive; total is -1 if the server does not say. received
	// falls when the download starts over.
	Downloading(job tasks.JobKey, name, host string) (progress func(received, total int64))
	// Attempted is called when an attempt has ended.
	Attempted(attempt Attempt)
}

// Outcome is how an attempt ended.
type Outcome int

// The outcomes.
const (
	// Done is success.
	Done Outcome = iota
	// Retried is a failure; another attempt follows.
	Retried
	// GivenUp is the last failure: there is a dead letter.
	GivenUp
	// Interrupted means that a shutdown ended it; it costs no attempt.
	Interrupted
)

// Attempt describes one run of a task to an [Observer]. Fields that do not apply to its
// kind are empty.
type Attempt struct {
	Kind    tasks.Kind
	Outcome Outcome
	// Number counts from 1 to Last.
	Number, Last int
	Took         time.Duration
	// Err is the cause of a failure, or nil. RetryIn is the wait before the next attempt.
	Err     error
	RetryIn time.Duration

	Job tasks.JobKey
	// EventID and EventType describe the recorded event.
	EventID, EventType string
	// JobError is why the job failed at Kling, if the event says that it did.
	JobError string
	// TestCallback reports that the event may be a test callback of Kling's console.
	TestCallback bool
	// Media is the name of the downloaded file. Once it is stored, Size is in bytes and
	// Location is its path or the URL of its object.
	Media    string
	Size     int64
	Location string
	// Destination is where the notification goes; Message is its event type.
	Destination, Message string
}

// report reports the end of an attempt to the observer, or else to the log.
func (w *Worker) report(ctx context.Context, a attempt, end Attempt) {
	if w.cfg.Observer != nil {
		end.Kind, end.Number, end.Last, end.Took = a.task.Kind, a.number, a.last, a.duration
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

// describe fills in the fields of the attempt's kind, except those it cannot read.
func (w *Worker) describe(ctx context.Context, a attempt, end *Attempt) {
	end.Job, end.EventID = a.job, a.eventID
	switch a.task.Kind {
	case tasks.KindEventRecord:
		event, _ := tasks.DecodeEvent(a.task.Payload)
		end.EventType = event.Type
		job, err := w.cfg.Store.Job(ctx, event.Job)
		if end.TestCallback = err == nil && job.TestCallback; err == nil && event.Type == tasks.TypeFailed {
			end.JobError = job.Error
		}
	case tasks.KindMediaDownload:
		payload, _ := tasks.DecodeMediaDownload(a.task.Payload)
		end.Media = payload.Name
		if file, err := w.cfg.Store.Medium(ctx, payload.Job, payload.Name); err == nil && file.State == store.MediaStored && end.Outcome == Done {
			end.Size, end.Location = file.Size, w.cfg.Bucket.Location(file.Object)
		}
	case tasks.KindNotifySend:
		payload, _ := tasks.DecodeNotifySend(a.task.Payload)
		if notification, err := w.cfg.Store.Notification(ctx, payload.NotificationID); err == nil {
			end.Destination, end.Message = notification.Destination, notification.Type
		}
	}
}

// downloading reports the start of a download and returns the observer's progress
// function, if any.
func (w *Worker) downloading(file store.Media) func(received, total int64) {
	if w.cfg.Observer == nil {
		return nil
	}
	return w.cfg.Observer.Downloading(file.Job, file.Name, hostOf(file.URL))
}
