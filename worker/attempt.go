package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/tasks"
)

// handler is how one kind of task is run.
type handler struct {
	// run does the work of the payload.
	run func(ctx context.Context, payload []byte) error
	// giveUp, where there is one, notes in the store that a task was given up,
	// and why.
	giveUp func(ctx context.Context, payload []byte, reason error) error
}

// handlers returns the handler of every kind.
func (w *Worker) handlers() map[tasks.Kind]handler {
	return map[tasks.Kind]handler{
		tasks.KindEventRecord:   {run: w.recordEvent},
		tasks.KindMediaDownload: {run: w.downloadMedia, giveUp: w.giveUpMedia},
		tasks.KindNotifySend:    {run: w.sendNotification, giveUp: w.giveUpNotification},
	}
}

// mux dispatches on the exact kind; asynq's own mux matches prefixes.
func (w *Worker) mux() asynq.Handler {
	handlers := w.handlers()
	return asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		kind := tasks.Kind(t.Type())
		h, ok := handlers[kind]
		if !ok {
			return w.attempt(ctx, kind, t.Payload(), handler{run: func(context.Context, []byte) error {
				return tasks.Permanent(fmt.Errorf("unknown task kind %q: was it enqueued by a newer klinghook?", kind))
			}})
		}
		return w.attempt(ctx, kind, t.Payload(), h)
	})
}

const (
	// timeoutAhead is how much sooner than asynq's time-out an attempt is ended:
	// when asynq's own fires, the handler's error is thrown away.
	timeoutAhead = 5 * time.Second
	// giveUpTimeout bounds what is noted about a task after its last attempt.
	giveUpTimeout = 10 * time.Second
)

// errInterrupted is the cause of a context that a shutdown has ended.
var errInterrupted = errors.New("interrupted by shutdown")

// attempt runs a task once, writes its log line, and turns its error into what
// asynq understands.
func (w *Worker) attempt(ctx context.Context, kind tasks.Kind, payload []byte, h handler) error {
	n, last := attemptOf(ctx)
	taskID, _ := asynq.GetTaskID(ctx)
	queue, _ := asynq.GetQueueName(ctx)
	log := w.cfg.Log.With(zap.String("kind", string(kind)), zap.String("queue", queue), zap.String("task_id", taskID),
		zap.Int("attempt", n), zap.Int("max_attempts", last))
	start := w.cfg.Now()
	err := w.runBounded(ctx, payload, h.run)
	took := w.cfg.Now().Sub(start)
	if errors.Is(err, errInterrupted) {
		log.Warn("task interrupted", zap.Duration("duration", took))
		// The task is asynq's until it pushes it back at the end of the grace
		// period; an error returned now would cost it an attempt.
		<-ctx.Done()
		return err
	}
	log = log.With(zap.Duration("duration", took))
	if err == nil {
		w.metrics.observe(kind, outcomeDone, took)
		log.Info("task done")
		return nil
	}
	if n < last && !tasks.IsPermanent(err) {
		w.metrics.observe(kind, outcomeRetry, took)
		log.Warn("task will be retried", zap.Error(err))
		return err
	}
	w.metrics.observe(kind, outcomeArchived, took)
	if h.giveUp != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTimeout)
		defer cancel()
		if noteErr := h.giveUp(ctx, payload, err); noteErr != nil {
			err = errors.Join(err, noteErr)
		}
	}
	log.Error("task given up", zap.Error(err))
	return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
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
	err := f(ctx, payload)
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	return err
}

// attemptOf returns which attempt this is, from 1, and which is the last.
func attemptOf(ctx context.Context) (n, last int) {
	retried, _ := asynq.GetRetryCount(ctx)
	maxRetry, _ := asynq.GetMaxRetry(ctx)
	return retried + 1, maxRetry + 1
}
