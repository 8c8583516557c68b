package backlog

import (
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/tasks"
)

// stateNames are the states of tasks that a queue is asked for.
func stateNames() []string {
	return []string{"pending", "active", "scheduled", "retry", "archived", "completed"}
}

// queueState is a queue as it stands.
type queueState struct {
	name   string
	tasks  map[string]int
	oldest map[string]time.Duration // of the states that have an age
	memory int64
	paused bool
}

// readQueues looks at every queue: those of the policy table, so many shards of events,
// and whichever other shards there are. One that never had a task is empty.
func readQueues(inspector *asynq.Inspector, eventShards int) ([]queueState, error) {
	known, err := inspector.Queues()
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	queues := append(tasks.Queues(), tasks.EventQueues(eventShards)[1:]...)
	for _, name := range known {
		if tasks.BaseQueue(name) == tasks.QueueEvents && !slices.Contains(queues, name) {
			queues = append(queues, name)
		}
	}
	var all []queueState
	for _, name := range queues {
		info := &asynq.QueueInfo{Queue: name}
		if slices.Contains(known, name) {
			if info, err = inspector.GetQueueInfo(name); err != nil {
				return nil, fmt.Errorf("look at queue %s: %w", name, err)
			}
		}
		oldest, err := oldestOf(inspector, info)
		if err != nil {
			return nil, fmt.Errorf("look for the oldest tasks of %s: %w", name, err)
		}
		all = append(all, queueState{
			name: name, memory: info.MemoryUsage, paused: info.Paused, oldest: oldest,
			tasks: map[string]int{
				"pending": info.Pending, "active": info.Active, "scheduled": info.Scheduled,
				"retry": info.Retry, "archived": info.Archived, "completed": info.Completed,
			},
		})
	}
	return all, nil
}

// oldestOf returns the age of the oldest task of each state that has one.
func oldestOf(inspector *asynq.Inspector, info *asynq.QueueInfo) (map[string]time.Duration, error) {
	overdue := func(t *asynq.TaskInfo) time.Duration { return time.Since(t.NextProcessAt) }
	oldest := map[string]time.Duration{"pending": info.Latency}
	for _, state := range []struct {
		name  string
		count int
		list  func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error)
		// page has the oldest, where pages hold one task each.
		page int
		age  func(*asynq.TaskInfo) time.Duration
	}{
		{"scheduled", info.Scheduled, inspector.ListScheduledTasks, 1, overdue},
		{"retry", info.Retry, inspector.ListRetryTasks, 1, overdue},
		// The newest come first.
		{"archived", info.Archived, inspector.ListArchivedTasks, info.Archived, func(t *asynq.TaskInfo) time.Duration {
			if t.LastFailedAt.IsZero() { // An operator archived it.
				return 0
			}
			return time.Since(t.LastFailedAt)
		}},
	} {
		oldest[state.name] = 0
		if state.count == 0 {
			continue
		}
		list, err := state.list(info.Queue, asynq.PageSize(1), asynq.Page(state.page))
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			oldest[state.name] = max(state.age(t), 0)
		}
	}
	return oldest, nil
}
