package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// handler runs one kind of task.
type handler struct {
	// run does the work of the payload.
	run func(ctx context.Context, payload []byte) error
	// about returns the job and the event that a payload is about, if any.
	about func(payload []byte) (job tasks.JobKey, eventID string)
	// noteFailure, if set, writes why an attempt failed to the row of the work.
	noteFailure func(ctx context.Context, payload []byte, reason error) error
	// giveUp, if set, marks the row of the work as given up.
	giveUp func(ctx context.Context, payload []byte, reason error) error
	// endsLetter reports that run itself closes the task's dead letter.
	endsLetter bool
}

// newHandlers returns the handler of every kind.
func (w *Worker) newHandlers() map[tasks.Kind]handler {
	return map[tasks.Kind]handler{
		tasks.KindEventRecord:   {run: w.recordEvent, about: aboutEvent, endsLetter: true},
		tasks.KindMediaDownload: {run: w.downloadMedia, about: aboutMedia, noteFailure: w.noteMediaFailure, giveUp: w.giveUpMedia},
		tasks.KindMediaFind:     {run: w.findMedia, about: aboutNoMedia},
		tasks.KindNotifySend:    {run: w.sendNotification, about: aboutNotification, noteFailure: w.noteNotificationFailure, giveUp: w.giveUpNotification},
		tasks.KindRejectionKeep: {run: w.keepRejection, about: aboutNothing},
	}
}

// handlerOf returns the handler of a kind. The handler of an unknown kind gives up.
func (w *Worker) handlerOf(kind tasks.Kind) handler {
	if h, ok := w.handlers[kind]; ok {
		return h
	}
	return handler{about: aboutNothing, run: func(context.Context, []byte) error {
		return tasks.Permanent(fmt.Errorf("unknown task kind %q: was it enqueued by a newer klinghook?", kind))
	}}
}

func aboutNothing([]byte) (job tasks.JobKey, eventID string) { return job, "" }

// attempt is one run of a task.
type attempt struct {
	task    tasks.Task // its ID has no generation
	queue   string
	handler handler
	// job and eventID are the task's job and event, if any.
	job     tasks.JobKey
	eventID string
	// number counts from 1 to last.
	number, last int
	start        time.Time
	duration     time.Duration
}

func (w *Worker) newAttempt(ctx context.Context, task *asynq.Task) attempt {
	retried, _ := asynq.GetRetryCount(ctx)
	maxRetry, _ := asynq.GetMaxRetry(ctx)
	queue, _ := asynq.GetQueueName(ctx)
	kind := tasks.Kind(task.Type())
	a := attempt{
		task:  tasks.Task{Kind: kind, ID: workID(ctx), Payload: task.Payload()},
		queue: queue, handler: w.handlerOf(kind), number: retried + 1, last: maxRetry + 1, start: w.cfg.Now(),
	}
	a.job, a.eventID = a.handler.about(task.Payload())
	return a
}

// workID identifies the work of the task that a handler runs.
func workID(ctx context.Context) string {
	id, _ := asynq.GetTaskID(ctx)
	return tasks.WorkID(id)
}

// isLast reports whether a handler runs the last attempt.
func isLast(ctx context.Context) bool {
	retried, _ := asynq.GetRetryCount(ctx)
	maxRetry, known := asynq.GetMaxRetry(ctx)
	return known && retried >= maxRetry
}

// fields returns the log fields of an attempt.
func (a attempt) fields(more ...zap.Field) []zap.Field {
	fields := []zap.Field{
		zap.String("kind", string(a.task.Kind)), zap.String("queue", a.queue), zap.String("task_id", a.task.ID),
		zap.Int("attempt", a.number), zap.Int("max_attempts", a.last), zap.Duration("duration", a.duration),
	}
	if a.job.ID != "" {
		fields = append(fields, zap.Stringer("job_id", a.job))
	}
	if a.eventID != "" {
		fields = append(fields, zap.String("event_id", a.eventID))
	}
	return append(fields, more...)
}

const (
	// noteTimeout limits the writes after an attempt.
	noteTimeout = 10 * time.Second
	// timeoutAhead is how long before asynq's timeout an attempt ends. asynq discards the
	// result at its timeout, so this leaves time for the writes.
	timeoutAhead = noteTimeout + 5*time.Second
)

// errInterrupted is the cause of a context that Shutdown has cancelled.
var errInterrupted = errors.New("interrupted by shutdown")

// attemptError describes a failed attempt to HandleError.
type attemptError struct {
	error
	start    time.Time
	duration time.Duration
	retryIn  time.Duration
}

func (e *attemptError) Unwrap() error { return e.error }

// ProcessTask implements [asynq.Handler]. [asynq.ServeMux] would match kinds by prefix.
func (w *Worker) ProcessTask(ctx context.Context, task *asynq.Task) error {
	attempt := w.newAttempt(ctx, task)
	traced, end := w.traceAttempt(ctx, attempt, task)
	err := w.runBounded(traced, attempt.task.Payload, attempt.handler.run)
	end(err)
	attempt.duration = w.cfg.Now().Sub(attempt.start)
	switch {
	case err == nil:
		w.noteDone(ctx, attempt)
		return nil
	case errors.Is(err, errHeld):
		w.noteHeld(attempt, err)
		return nil
	case errors.Is(err, errInterrupted):
		w.report(ctx, attempt, Attempt{Outcome: Interrupted, Err: err})
		// asynq puts the task back at the end of the grace period. An error now would cost
		// an attempt.
		<-ctx.Done()
		return err
	}
	if revoked := w.revoked(ctx, attempt.job, err); revoked != nil {
		w.cfg.Log.Info("task dropped: its job was deleted", attempt.fields()...)
		return revoked
	}
	failed := &attemptError{error: err, start: attempt.start, duration: attempt.duration, retryIn: delay(attempt.task.Kind, attempt.number-1, err)}
	if tasks.IsPermanent(err) {
		return fmt.Errorf("%w: %w", failed, asynq.SkipRetry)
	}
	return failed
}

// noteDone records that an attempt succeeded.
func (w *Worker) noteDone(ctx context.Context, a attempt) {
	ctx, cancel := w.noteContext(ctx)
	defer cancel()
	w.metrics.observe(a.task.Kind, outcomeDone, a.duration)
	if !a.handler.endsLetter {
		w.noted(a, w.cfg.Store.EndDeadLetterOf(ctx, a.task.ID, w.cfg.Now()))
	}
	w.report(ctx, a, Attempt{Outcome: Done})
}

// noteHeld records that a task ended although its work is still owed. The task that a
// sweep enqueues later counts its attempts from 1.
func (w *Worker) noteHeld(a attempt, reason error) {
	w.metrics.attempts.WithLabelValues(string(a.task.Kind), outcomeHeld).Inc()
	w.cfg.Log.Debug("task ended; its work is still owed", a.fields(zap.Error(reason))...)
}

// HandleError implements [asynq.ErrorHandler]: it records why an attempt failed before
// asynq retries or archives the task. asynq's timeout does not apply to it. err is
// asynq's own after a lost lease or a timeout.
func (w *Worker) HandleError(ctx context.Context, task *asynq.Task, err error) {
	if errors.Is(err, asynq.RevokeTask) {
		return
	}
	attempt := w.newAttempt(ctx, task)
	last := attempt.number >= attempt.last || errors.Is(err, asynq.SkipRetry)
	var failed *attemptError
	if errors.As(err, &failed) {
		attempt.start, attempt.duration, err = failed.start, failed.duration, failed.error
	} else {
		failed = &attemptError{error: err}
	}
	if wait, putOff := tasks.PutOffOf(err); putOff && !last {
		w.metrics.attempts.WithLabelValues(string(attempt.task.Kind), outcomePutOff).Inc()
		w.cfg.Log.Debug("task postponed", attempt.fields(zap.Duration("wait", wait), zap.Error(err))...)
		return
	}
	ctx, cancel := w.noteContext(ctx)
	defer cancel()
	if !last {
		w.metrics.observe(attempt.task.Kind, outcomeRetry, attempt.duration)
		w.noted(attempt, w.cfg.Store.RecordAttempt(ctx, store.TaskAttempt{
			TaskID: attempt.task.ID, Number: attempt.number, At: attempt.start, Duration: attempt.duration, Error: err.Error(),
		}))
		if attempt.handler.noteFailure != nil {
			w.noted(attempt, attempt.handler.noteFailure(ctx, attempt.task.Payload, err))
		}
		w.report(ctx, attempt, Attempt{Outcome: Retried, Err: err, RetryIn: failed.retryIn})
		return
	}
	w.metrics.observe(attempt.task.Kind, outcomeArchived, attempt.duration)
	failure := store.Failure{Attempt: attempt.number, At: attempt.start, DurationSeconds: attempt.duration.Seconds(), Error: err.Error()}
	if buryErr := w.bury(ctx, attempt.task, failure, err); buryErr != nil {
		err = errors.Join(err, buryErr) // a sweep finds the task in the archive
	}
	w.report(ctx, attempt, Attempt{Outcome: GivenUp, Err: err})
}

// noteContext returns the context for the writes after an attempt. It outlives the
// attempt, but not the grace period.
func (w *Worker) noteContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	go w.onInterrupt(ctx, cancel)
	return ctx, cancel
}

// onInterrupt calls cancel when a shutdown interrupts attempts, unless ctx ends first.
func (w *Worker) onInterrupt(ctx context.Context, cancel func()) {
	select {
	case <-w.interrupt:
		cancel()
	case <-ctx.Done():
	}
}

// noted logs the error of a write after an attempt. The task goes on.
func (w *Worker) noted(a attempt, err error) {
	if err != nil {
		w.cfg.Log.Debug("outcome of the attempt not written to the database", a.fields(zap.Error(err))...)
	}
}

// runBounded runs f in a context that ends before asynq's does, or when a shutdown
// interrupts it; then the error wraps errInterrupted.
func (w *Worker) runBounded(ctx context.Context, payload []byte, f func(context.Context, []byte) error) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-timeoutAhead))
		defer cancel()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go w.onInterrupt(ctx, func() { cancel(errInterrupted) })
	err := recovered(ctx, payload, f)
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	return err
}

// recovered runs f and turns a panic into an error.
func recovered(ctx context.Context, payload []byte, f func(context.Context, []byte) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return f(ctx, payload)
}
