package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// guardEvery is how often each worker makes room in full archives. Handlers do
	// it themselves before they archive; asynq's recoverer does not.
	guardEvery = time.Second
	// archivePage is how many archived tasks are read, and buried in one
	// transaction, at a time: their payloads are in memory meanwhile.
	archivePage = 100
)

// guardArchives makes room in full archives, until ctx ends, so that asynq never
// deletes an archived task that no sweep has seen.
func (w *Worker) guardArchives(ctx context.Context) {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, queue := range w.shards.queues() {
			if _, err := tasks.MakeRoom(ctx, w.cfg.Redis, queue, tasks.ArchiveFull); err != nil && ctx.Err() == nil {
				w.cfg.Log.Debug("archive not guarded", zap.Error(err)) // Redis is away, which others tell
			}
		}
	}
}

// sweepArchives keeps every archived task of the queues as a dead letter, whoever
// archived it and whether or not a list has it, and deletes all but the newest of each
// queue.
func (w *Worker) sweepArchives(ctx context.Context, queues []string) error {
	leaked, err := tasks.FindLeaked(ctx, w.cfg.Redis)
	if leaked > 0 {
		w.cfg.Log.Warn("archived tasks found that no list has", zap.Int("tasks", leaked))
	}
	errs := []error{err}
	for _, queue := range queues {
		if _, err := tasks.MakeRoom(ctx, w.cfg.Redis, queue, tasks.ArchiveKept); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, w.buryOverflow(ctx, queue), w.buryArchived(ctx, queue))
	}
	return errors.Join(errs...)
}

// buryOverflow buries what is in a queue's overflow, and deletes it.
func (w *Worker) buryOverflow(ctx context.Context, queue string) error {
	for {
		ids, err := tasks.Overflow(ctx, w.cfg.Redis, queue, archivePage)
		if err != nil || len(ids) == 0 {
			return err
		}
		var archived []*asynq.TaskInfo
		for _, id := range ids {
			info, err := w.inspector.GetTaskInfo(queue, id)
			switch {
			case errors.Is(err, asynq.ErrTaskNotFound):
				continue // replayed or discarded
			case err != nil:
				return fmt.Errorf("look at archived task %s: %w", id, err)
			}
			if info.State == asynq.TaskStateArchived {
				archived = append(archived, info)
			}
		}
		if err := w.buryAll(ctx, archived); err != nil {
			return err
		}
		if err := tasks.DropOverflow(ctx, w.cfg.Redis, queue, ids); err != nil {
			return err
		}
	}
}

// buryArchived buries what is in a queue's archive, and leaves it there to be seen.
func (w *Worker) buryArchived(ctx context.Context, queue string) error {
	// The newest come first: what is archived meanwhile moves others to a later page,
	// where they are seen again.
	for page := 1; ; page++ {
		archived, err := w.inspector.ListArchivedTasks(queue, asynq.PageSize(archivePage), asynq.Page(page))
		if err != nil {
			return fmt.Errorf("list archived tasks of %s: %w", queue, err)
		}
		if err := w.buryAll(ctx, archived); err != nil {
			return err
		}
		if len(archived) < archivePage {
			return nil
		}
	}
}

// buryAll buries those of the tasks that have no dead letter yet.
func (w *Worker) buryAll(ctx context.Context, archived []*asynq.TaskInfo) error {
	ids := make([]string, len(archived))
	for i, t := range archived {
		ids[i] = t.ID
	}
	buried, err := w.cfg.Store.Buried(ctx, ids)
	if err != nil {
		return err
	}
	var letters []store.DeadLetter
	for _, t := range archived {
		if buried[t.ID] {
			continue
		}
		task := tasks.Task{Kind: tasks.Kind(t.Type), ID: t.ID, Payload: t.Payload}
		letter := w.archivedLetter(task, t)
		if err := w.giveUp(ctx, task, errors.New(letter.Error)); err != nil {
			return err
		}
		letters = append(letters, letter)
	}
	return w.cfg.Store.Bury(ctx, letters...)
}

// archivedLetter is the dead letter of a task that no handler has buried.
func (w *Worker) archivedLetter(task tasks.Task, t *asynq.TaskInfo) store.DeadLetter {
	text, gaveUp := strings.CutSuffix(t.LastErr, ": "+asynq.SkipRetry.Error())
	if gaveUp || text != "" && t.Retried >= t.MaxRetry {
		// asynq archived it after an attempt, which it does not count.
		return w.letter(task, store.Failure{Attempt: t.Retried + 1, At: t.LastFailedAt, Error: text})
	}
	// Of its attempts, if there were any, there are notes.
	d := w.letter(task, store.Failure{At: w.cfg.Now(), Error: "archived by an operator"})
	d.Failures = nil
	if text != "" {
		d.Error += ", after the attempt before failed: " + text
	}
	return d
}

// endDone ends the dead letters whose work was done after all, and takes their tasks
// out of the archives, where the next sweep would bury them again.
func (w *Worker) endDone(ctx context.Context) error {
	ended, err := w.cfg.Store.EndDone(ctx, w.cfg.Now())
	for _, t := range ended {
		err = errors.Join(err, tasks.Unarchive(ctx, w.cfg.Redis, t))
	}
	if len(ended) > 0 {
		w.cfg.Log.Info("dead letters ended, whose work was done after all", zap.Int("dead_letters", len(ended)))
	}
	return err
}
