package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/media"
)

const (
	// eraseBatch limits the jobs that one sweep deletes.
	eraseBatch = 1000
	// Work on a job may have begun before its tombstone and may write something afterwards.
	// So the job is deleted again after eraseSoon, when recordings are over, and after
	// eraseLate, when no task can be left: see the timeouts in the policy table.
	eraseSoon = 2 * time.Minute
	eraseLate = time.Hour + 5*time.Minute
)

// Eraser deletes jobs completely: their tasks, objects and rows. It first writes a
// tombstone: with it a sweep continues an interrupted deletion, and later events are
// dropped. All fields are required.
type Eraser struct {
	Redis       redis.UniversalClient
	Store       *store.Store
	Bucket      *media.Bucket
	EventShards int
	Now         func() time.Time
}

// Erased counts deleted things.
type Erased struct {
	Tasks, Objects int
	store.ErasedRows
}

// Erase deletes a job. It may be repeated.
func (e *Eraser) Erase(ctx context.Context, job tasks.JobKey) (Erased, error) {
	at := e.Now().Truncate(time.Microsecond) // as the store keeps it
	if err := e.Store.BeginErasure(ctx, job, at); err != nil {
		return Erased{}, err
	}
	return e.erase(ctx, []store.Erasure{{Job: job, BegunAt: at}})
}

// Continue continues the deletions that are due. Sweeps call it.
func (e *Eraser) Continue(ctx context.Context) error {
	due, err := e.Store.DueErasures(ctx, e.Now(), eraseBatch)
	if err != nil || len(due) == 0 {
		return err
	}
	_, err = e.erase(ctx, due)
	return err
}

// erase deletes everything of some jobs, the rows last.
func (e *Eraser) erase(ctx context.Context, list []store.Erasure) (n Erased, err error) {
	if n.Tasks, err = e.eraseTasks(ctx, list); err != nil {
		return n, err
	}
	var errs []error
	for _, erasure := range list {
		if err := e.forgetRepeats(ctx, erasure.Job); err != nil {
			errs = append(errs, err)
			continue
		}
		objects, err := e.Bucket.RemoveJob(ctx, erasure.Job)
		n.Objects += objects
		if err != nil {
			errs = append(errs, err)
			continue
		}
		rows, err := e.Store.EraseRows(ctx, erasure.Job)
		if err == nil {
			n.Events += rows.Events
			n.Notifications += rows.Notifications
			n.DeadLetters += rows.DeadLetters
			err = e.Store.PostponeErasure(ctx, erasure, nextErasure(erasure, e.Now()))
		}
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
}

// forgetRepeats deletes what Redis knows of repeated deliveries.
func (e *Eraser) forgetRepeats(ctx context.Context, job tasks.JobKey) error {
	ids, err := e.Store.EventIDs(ctx, job)
	if err != nil || len(ids) == 0 {
		return err
	}
	return tasks.ForgetRepeats(ctx, e.Redis, ids)
}

// nextErasure returns when a job must be deleted again; zero if it need not be.
func nextErasure(erasure store.Erasure, now time.Time) time.Time {
	for _, wait := range []time.Duration{eraseSoon, eraseLate} {
		if next := erasure.BegunAt.Add(wait); now.Before(next) {
			return next
		}
	}
	return time.Time{}
}

// eraseTasks deletes the tasks of some jobs in any state. A task that runs ends by itself:
// see revoked.
func (e *Eraser) eraseTasks(ctx context.Context, list []store.Erasure) (n int, err error) {
	queue := newQueue(e.Redis, e.EventShards)
	names, err := queue.names()
	if err != nil {
		return 0, err
	}
	about := aboutJobs(list)
	for _, name := range names {
		for _, page := range []func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
			queue.inspector.ListActiveTasks, queue.inspector.ListPendingTasks, queue.inspector.ListScheduledTasks,
			queue.inspector.ListRetryTasks, queue.inspector.ListArchivedTasks, queue.inspector.ListCompletedTasks,
		} {
			found, err := listTasks(ctx, name, page, about)
			if err != nil {
				return n, err
			}
			for _, task := range found {
				err := queue.inspector.DeleteTask(name, task.ID)
				switch {
				case err == nil:
					n++
				case task.State == asynq.TaskStateActive:
					_ = queue.inspector.CancelProcessing(task.ID) // only saves time
				case !isNotFound(err):
					return n, fmt.Errorf("delete task %s: %w", task.ID, err)
				}
			}
		}
	}
	return n, nil
}

// aboutJobs returns a function that reports whether a task is about one of the jobs.
func aboutJobs(list []store.Erasure) func(*asynq.TaskInfo) bool {
	handlers := new(Worker).newHandlers()
	jobs := make(map[tasks.JobKey]bool, len(list))
	parts := make([][]byte, len(list))
	for i, erasure := range list {
		jobs[erasure.Job] = true
		quoted, _ := json.Marshal(erasure.Job.ID) // a string never fails
		parts[i] = bytes.Trim(quoted, `"`)
	}
	return func(task *asynq.TaskInfo) bool {
		handler, known := handlers[tasks.Kind(task.Type)]
		// Most payloads need not be decoded.
		if !known || len(parts) < 10 && !containsOne(task.Payload, parts) {
			return false
		}
		job, _ := handler.about(task.Payload)
		return jobs[job]
	}
}

func containsOne(payload []byte, parts [][]byte) bool {
	for _, part := range parts {
		if bytes.Contains(payload, part) {
			return true
		}
	}
	return false
}

// revoked returns the error that ends a task of a deleted job: asynq then deletes the task
// and its payload. It returns nil if the job was not deleted.
func (w *Worker) revoked(ctx context.Context, job tasks.JobKey, err error) error {
	erased := errors.Is(err, tasks.ErrErased)
	if errors.Is(err, store.ErrNotFound) && job.ID != "" {
		erased, _ = w.cfg.Store.IsErased(ctx, job) // on an error the task is retried
	}
	if !erased {
		return nil
	}
	return fmt.Errorf("%w: %w", tasks.ErrErased, asynq.RevokeTask)
}
