package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

// queue enqueues tasks and inspects those that asynq has.
type queue struct {
	*tasks.Client
	inspector *asynq.Inspector
	shards    int
}

func newQueue(rdb redis.UniversalClient, shards int) *queue {
	return &queue{Client: tasks.NewShardedClient(rdb, shards), inspector: asynq.NewInspectorFromRedisClient(rdb), shards: shards}
}

// names returns the configured queues that asynq knows: those that ever had a task.
func (q *queue) names() ([]string, error) {
	known, err := q.inspector.Queues()
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	return slices.DeleteFunc(tasks.AllQueues(q.shards), func(name string) bool { return !slices.Contains(known, name) }), nil
}

// unfinished counts the tasks that are pending or active.
func (q *queue) unfinished() (n int, err error) {
	names, err := q.names()
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		info, err := q.inspector.GetQueueInfo(name)
		if err != nil {
			return 0, fmt.Errorf("count tasks of %s: %w", name, err)
		}
		n += info.Pending + info.Active
	}
	return n, nil
}

// find returns asynq's information about a task, or nil if no queue has it.
func (q *queue) find(task tasks.Task) (*asynq.TaskInfo, error) {
	names := tasks.AllQueues(q.shards) // for a kind of another release
	if name, err := q.QueueOf(task.Kind, task.ID); err == nil {
		names = []string{name}
	}
	for _, name := range names {
		info, err := q.inspector.GetTaskInfo(name, task.ID)
		switch {
		case err == nil:
			return info, nil
		case !isNotFound(err):
			return nil, fmt.Errorf("look for task %s: %w", task.ID, err)
		}
	}
	return nil, nil
}

func isNotFound(err error) bool {
	return errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound)
}

// maxGenerations limits the generations of one task.
const maxGenerations = 5

// enqueueAgain enqueues a task whose work is owed although asynq may remember it as
// completed or archived. It reports false if the task is waiting or running.
func (q *queue) enqueueAgain(ctx context.Context, task tasks.Task) (bool, error) {
	for range maxGenerations {
		duplicate, err := q.Enqueue(ctx, task)
		if err != nil || !duplicate {
			return err == nil, err
		}
		info, err := q.find(task)
		switch {
		case err != nil:
			return false, err
		case info == nil: // it has expired since
			continue
		case info.State != asynq.TaskStateCompleted && info.State != asynq.TaskStateArchived:
			return false, nil
		}
		if q.inspector.DeleteTask(info.Queue, info.ID) == nil {
			continue
		}
		// asynq cannot delete a task that it has dropped from its list of archived tasks.
		if now, err := q.find(task); err == nil && now != nil && now.State == info.State {
			task = task.NextGeneration()
		}
	}
	return false, fmt.Errorf("enqueue task %s again: its ID is still in use", task.ID)
}

// forget deletes a task that is completed or archived, in every generation. A task that
// waits or runs stays.
func (q *queue) forget(task tasks.Task) error {
	for range maxGenerations {
		info, err := q.find(task)
		if err != nil {
			return err
		}
		if info != nil && (info.State == asynq.TaskStateCompleted || info.State == asynq.TaskStateArchived) {
			// asynq cannot delete a task that it has dropped from its lists, but no sweep
			// sees such a task.
			_ = q.inspector.DeleteTask(info.Queue, info.ID)
		}
		task = task.NextGeneration()
	}
	return nil
}

// listTasks returns the tasks of a list that match. The list may change meanwhile.
func listTasks(ctx context.Context, queue string, page func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error), matches func(*asynq.TaskInfo) bool) (found []*asynq.TaskInfo, err error) {
	for number := 1; ; number++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list, err := page(queue, asynq.PageSize(archivePage), asynq.Page(number))
		if err != nil {
			return nil, fmt.Errorf("list tasks of %s: %w", queue, err)
		}
		for _, task := range list {
			if matches(task) {
				found = append(found, task)
			}
		}
		if len(list) < archivePage {
			return found, nil
		}
	}
}
