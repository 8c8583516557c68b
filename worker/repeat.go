package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/klinghook/klinghook/tasks"
)

// Notify sends a job's current state again: to these destinations or, without any, to those
// that were notified of it before. It returns how many notifications it enqueued. Each has
// a new ID, because receivers drop known ones. A destination with a pending notification
// gets no other.
func (r *Replayer) Notify(ctx context.Context, key tasks.JobKey, destinations []string) (int, error) {
	job, err := r.Store.Job(ctx, key)
	if err != nil {
		return 0, err
	}
	list, err := r.Store.RepeatNotifications(ctx, job, destinations, r.Now())
	if err != nil {
		return 0, err
	}
	queue := newQueue(r.Redis, r.EventShards)
	var errs []error
	for _, notification := range list {
		task, err := notificationTask(notification)
		if err == nil {
			_, err = queue.Enqueue(ctx, task)
		}
		errs = append(errs, err) // a sweep enqueues it later
	}
	return len(list), errors.Join(errs...)
}

// Download downloads a job's files again, or only the one of this name, and returns how
// many. The objects in the bucket stay until the new ones are complete.
func (r *Replayer) Download(ctx context.Context, key tasks.JobKey, name string) (n int, err error) {
	files, err := r.Store.MediaOf(ctx, key)
	if err != nil {
		return 0, err
	}
	queue := newQueue(r.Redis, r.EventShards)
	for _, file := range files {
		if name != "" && file.Name != name {
			continue
		}
		if err := r.Store.RepeatMedia(ctx, key, file.Name, r.Now()); err != nil {
			return n, err
		}
		if file, err = r.Store.Medium(ctx, key, file.Name); err != nil {
			return n, err
		}
		task, err := mediaTask(file)
		if err != nil {
			return n, err
		}
		if _, err := queue.enqueueAgain(ctx, task); err != nil {
			return n, fmt.Errorf("download %s of %s again: %w", file.Name, key, err)
		}
		n++
	}
	return n, nil
}
