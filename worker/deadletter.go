package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// archiveKept is how many archived tasks of a queue are kept for the queue pages. asynq
	// itself drops those beyond 10,000 or 90 days.
	archiveKept = 1000
	// archivePage is how many archived tasks are in memory at a time.
	archivePage = 100
)

// bury keeps a task as a dead letter, and marks the row of its work as given up.
func (w *Worker) bury(ctx context.Context, task tasks.Task, last store.Failure, reason error) error {
	if err := w.giveUp(ctx, task, reason); err != nil {
		return err
	}
	return w.cfg.Store.Bury(ctx, w.letter(task, last))
}

// giveUp marks the row of a task's work as given up.
func (w *Worker) giveUp(ctx context.Context, task tasks.Task, reason error) error {
	h := w.handlerOf(task.Kind)
	if h.giveUp == nil {
		return nil
	}
	// An unreadable payload, which is permanent, has no row to mark.
	if err := h.giveUp(ctx, task.Payload, reason); err != nil && !tasks.IsPermanent(err) && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// letter returns the dead letter of a task with its last failure.
func (w *Worker) letter(task tasks.Task, last store.Failure) store.DeadLetter {
	job, eventID := w.handlerOf(task.Kind).about(task.Payload)
	return store.DeadLetter{
		Task: task, Job: job, EventID: eventID, Error: last.Error, Failures: []store.Failure{last}, FailedAt: last.EndedAt(),
	}
}

// sweepArchive buries the archived tasks of a queue that have no dead letter: asynq's
// recoverer and operators archive without calling HandleError. It deletes all but
// archiveKept of them, so that asynq never drops one that has no dead letter yet.
func (w *Worker) sweepArchive(ctx context.Context, queue string) error {
	info, err := w.queue.inspector.GetQueueInfo(queue)
	if err != nil {
		return fmt.Errorf("count archived tasks of %s: %w", queue, err)
	}
	excess := info.Archived - archiveKept
	for page := 1; ctx.Err() == nil; {
		archived, err := w.queue.inspector.ListArchivedTasks(queue, asynq.PageSize(archivePage), asynq.Page(page))
		if err != nil {
			return fmt.Errorf("list archived tasks of %s: %w", queue, err)
		}
		if err := w.buryAll(ctx, archived); err != nil {
			return err
		}
		switch {
		case len(archived) < archivePage:
			return nil
		case excess > 0: // the oldest come first
			excess -= len(archived)
			for _, task := range archived {
				// If the task was just replayed, its work is still owed.
				if err := w.queue.inspector.DeleteTask(queue, task.ID); err != nil && !isNotFound(err) {
					w.cfg.Log.Debug("archived task not deleted", zap.String("task_id", task.ID), zap.Error(err))
				}
			}
		default:
			page++
		}
	}
	return ctx.Err()
}

// buryAll buries the archived tasks that have no dead letter.
func (w *Worker) buryAll(ctx context.Context, archived []*asynq.TaskInfo) error {
	ids := make([]string, len(archived))
	for i, task := range archived {
		ids[i] = tasks.WorkID(task.ID)
	}
	buried, err := w.cfg.Store.Buried(ctx, ids)
	if err != nil {
		return err
	}
	var letters []store.DeadLetter
	for i, task := range archived {
		if buried[ids[i]] {
			continue
		}
		buried[ids[i]] = true // another generation may follow
		letter := w.archivedLetter(tasks.Task{Kind: tasks.Kind(task.Type), ID: ids[i], Payload: task.Payload}, task)
		if err := w.giveUp(ctx, letter.Task, errors.New(letter.Error)); err != nil {
			return err
		}
		letters = append(letters, letter)
	}
	return w.cfg.Store.Bury(ctx, letters...)
}

// archivedLetter returns the dead letter of a task that HandleError has not buried.
func (w *Worker) archivedLetter(task tasks.Task, info *asynq.TaskInfo) store.DeadLetter {
	text, gaveUp := strings.CutSuffix(info.LastErr, ": "+asynq.SkipRetry.Error())
	if gaveUp || text != "" && info.Retried >= info.MaxRetry {
		// asynq archived it after an attempt that Retried does not count.
		return w.letter(task, store.Failure{Attempt: info.Retried + 1, At: info.LastFailedAt, Error: text})
	}
	letter := w.letter(task, store.Failure{At: w.cfg.Now(), Error: "archived by an operator"})
	letter.Failures = nil // the store has the earlier attempts
	if text != "" {
		letter.Error += " after a failed attempt: " + text
	}
	return letter
}

// endDone closes dead letters if their work was done later. It deletes their tasks from
// the archives, else the next sweep would bury them again.
func (w *Worker) endDone(ctx context.Context) error {
	ended, err := w.cfg.Store.EndDone(ctx, w.cfg.Now())
	for _, task := range ended {
		err = errors.Join(err, w.queue.forget(task))
	}
	if len(ended) > 0 {
		w.cfg.Log.Info("dead letters closed: their work was done later", zap.Int("dead_letters", len(ended)))
	}
	return err
}
