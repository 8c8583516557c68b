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

// handler is how one kind of task is run.
type handler struct {
	// run does the work of the payload.
	run func(ctx context.Context, payload []byte) error
	// about says which job and which event the payload is about; empty where it
	// does not tell.
	about func(payload []byte) (jobID, eventID string)
	// trouble, where there is one, notes in the store why an attempt failed that
	// will be followed by another.
	trouble func(ctx context.Context, payload []byte, reason error) error
	// giveUp, where there is one, marks in the store what the task was about as
	// given up, and why.
	giveUp func(ctx context.Context, payload []byte, reason error) error
	// endsLetter says that run itself ends the task's dead letter, if it has one: it
	// learns that without asking for it. Of the others it is asked after each success,
	// which is little beside a download or a message.
	endsLetter bool
}

// newHandlers returns the handler of every kind.
func (w *Worker) newHandlers() map[tasks.Kind]handler {
	return map[tasks.Kind]handler{
		tasks.KindEventRecord:   {run: w.recordEvent, about: aboutEvent, endsLetter: true},
		tasks.KindMediaDownload: {run: w.downloadMedia, about: aboutMedia, trouble: w.mediaTrouble, giveUp: w.giveUpMedia},
		tasks.KindNotifySend:    {run: w.sendNotification, about: aboutNotification, trouble: w.notificationTrouble, giveUp: w.giveUpNotification},
		tasks.KindRejectionKeep: {run: w.keepRejection, about: aboutNothing},
	}
}

// handlerOf returns the handler of a kind; of one that is not known, one that
// gives up.
func (w *Worker) handlerOf(kind tasks.Kind) handler {
	if h, ok := w.handlers[kind]; ok {
		return h
	}
	return handler{
		run: func(context.Context, []byte) error {
			return tasks.Permanent(fmt.Errorf("unknown task kind %q: was it enqueued by a newer klinghook?", kind))
		},
		about: aboutNothing,
	}
}

func aboutNothing([]byte) (jobID, eventID string) { return "", "" }

// ProcessTask runs a task as asynq hands it out. It goes by the exact kind;
// asynq's own mux would match prefixes.
func (w *Worker) ProcessTask(ctx context.Context, t *asynq.Task) error {
	retried, _ := asynq.GetRetryCount(ctx)
	maxRetry, _ := asynq.GetMaxRetry(ctx)
	id, _ := asynq.GetTaskID(ctx)
	a := attempt{
		task:   tasks.Task{Kind: tasks.Kind(t.Type()), ID: id, Payload: t.Payload()},
		number: retried + 1, last: maxRetry + 1, start: w.cfg.Now(),
	}
	a.handler = w.handlerOf(a.task.Kind)
	a.queue, _ = asynq.GetQueueName(ctx)
	ctx, end := w.traceAttempt(ctx, a, t)
	err := w.runBounded(ctx, a.task.Payload, a.handler.run)
	end(err)
	a.took = w.cfg.Now().Sub(a.start)
	return w.conclude(ctx, a, err)
}

// attempt is one run of a task.
type attempt struct {
	task    tasks.Task
	queue   string
	handler handler
	// number counts from 1; last is the number of the last one.
	number, last int
	start        time.Time
	// took is how long it was run.
	took time.Duration
}

// fields are what the log has of an attempt, and more. They are made when a line is
// written: a logger that carries them would cost as much as the line.
func (a attempt) fields(more ...zap.Field) []zap.Field {
	return append([]zap.Field{
		zap.String("kind", string(a.task.Kind)), zap.String("queue", a.queue), zap.String("task_id", a.task.ID),
		zap.Int("attempt", a.number), zap.Int("max_attempts", a.last), zap.Duration("duration", a.took),
	}, more...)
}

const (
	// timeoutAhead is how much sooner than asynq's time-out an attempt is ended:
	// when asynq's own fires, the handler's error is thrown away.
	timeoutAhead = 5 * time.Second
	// noteTimeout bounds what is noted about an attempt after it.
	noteTimeout = 10 * time.Second
)

// errInterrupted is the cause of a context that a shutdown has ended.
var errInterrupted = errors.New("interrupted by shutdown")

// conclude notes how an attempt ended, tells of it, and returns what asynq makes its
// decision by.
func (w *Worker) conclude(ctx context.Context, a attempt, err error) error {
	if errors.Is(err, errInterrupted) {
		w.tell(context.WithoutCancel(ctx), a, Attempt{Outcome: Interrupted, Err: err})
		// The task is asynq's until it pushes it back at the end of the grace
		// period; an error returned now would cost it an attempt.
		<-ctx.Done()
		return err
	}
	if wait, putOff := tasks.PutOffOf(err); putOff && a.number < a.last {
		w.metrics.attempts.WithLabelValues(string(a.task.Kind), outcomePutOff).Inc()
		w.cfg.Log.Debug("task put off", a.fields(zap.Duration("wait", wait), zap.Error(err))...)
		return err
	}
	noteCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	switch {
	case err == nil:
		w.metrics.observe(a.task.Kind, outcomeDone, a.took)
		if a.number > 1 {
			w.noted(a, w.cfg.Store.ForgetFailures(noteCtx, a.task.ID))
		}
		if !a.handler.endsLetter {
			w.noted(a, w.cfg.Store.EndDeadLetterOf(noteCtx, a.task.ID, w.cfg.Now()))
		}
		w.tell(noteCtx, a, Attempt{Outcome: Done})
		return nil
	case a.number < a.last && !tasks.IsPermanent(err):
		w.metrics.observe(a.task.Kind, outcomeRetry, a.took)
		w.noted(a, w.cfg.Store.NoteFailure(noteCtx, a.task.ID, a.failure(err)))
		if a.handler.trouble != nil {
			w.noted(a, a.handler.trouble(noteCtx, a.task.Payload, err))
		}
		wait := delay(a.task.Kind, a.number-1, err)
		w.tell(noteCtx, a, Attempt{Outcome: Retried, Err: err, RetryIn: wait})
		return &retryError{err, wait}
	}
	w.metrics.observe(a.task.Kind, outcomeArchived, a.took)
	if buryErr := w.bury(noteCtx, a.task, a.failure(err), err); buryErr != nil {
		// The archive keeps it until a sweep finds it there.
		err = errors.Join(err, buryErr)
	}
	// asynq deletes from a full archive, also what no sweep has seen yet.
	if _, roomErr := tasks.MakeRoom(noteCtx, w.cfg.Redis, a.queue, tasks.ArchiveFull); roomErr != nil {
		err = errors.Join(err, roomErr)
	}
	w.tell(noteCtx, a, Attempt{Outcome: GivenUp, Err: err})
	return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
}

// isLast reports whether the attempt that ctx belongs to is the task's last.
func isLast(ctx context.Context) bool {
	retried, _ := asynq.GetRetryCount(ctx)
	maxRetry, known := asynq.GetMaxRetry(ctx)
	return known && retried >= maxRetry
}

func (a attempt) failure(err error) store.Failure {
	return store.Failure{Attempt: a.number, At: a.start, Error: err.Error()}
}

// noted reports that a note could not be kept. The task goes on without it.
func (w *Worker) noted(a attempt, err error) {
	if err != nil {
		w.cfg.Log.Debug("attempt not noted", a.fields(zap.Error(err))...)
	}
}

// bury keeps a task as a dead letter and marks what it was about as given up for a
// reason, which last has as text.
func (w *Worker) bury(ctx context.Context, t tasks.Task, last store.Failure, reason error) error {
	if err := w.giveUp(ctx, t, reason); err != nil {
		return err
	}
	return w.cfg.Store.Bury(ctx, w.letter(t, last))
}

// giveUp marks what a task is about as given up.
func (w *Worker) giveUp(ctx context.Context, t tasks.Task, reason error) error {
	h := w.handlerOf(t.Kind)
	if h.giveUp == nil {
		return nil
	}
	// A payload that cannot be read is about nothing that could be marked.
	if err := h.giveUp(ctx, t.Payload, reason); err != nil && !tasks.IsPermanent(err) {
		return err
	}
	return nil
}

// letter is the dead letter of a task with its last failure.
func (w *Worker) letter(t tasks.Task, last store.Failure) store.DeadLetter {
	jobID, eventID := w.handlerOf(t.Kind).about(t.Payload)
	return store.DeadLetter{
		Task: t, JobID: jobID, EventID: eventID, Error: last.Error, Failures: []store.Failure{last}, FailedAt: last.At,
	}
}

// runBounded runs f in a context that ends a little before asynq's does, or when
// a shutdown has waited long enough; then the error matches errInterrupted.
func (w *Worker) runBounded(ctx context.Context, payload []byte, f func(context.Context, []byte) error) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-timeoutAhead))
		defer cancel()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		select {
		case <-w.interrupt:
			cancel(errInterrupted)
		case <-finished:
		}
	}()
	err := recovered(ctx, payload, f)
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	return err
}

// recovered runs f and turns a panic into an error, so that the attempt is noted
// and concluded like any other.
func recovered(ctx context.Context, payload []byte, f func(context.Context, []byte) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return f(ctx, payload)
}
