package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/tasks"
)

// lookForShards is how often each worker looks for shards of events that it does not
// run yet. What is in one waits no longer than that.
const lookForShards = 5 * time.Second

// shards are the queues of events that there are. Processes may have been told of
// different numbers, while these are changed or by mistake: what one of them enqueues,
// every worker that runs events finds and runs, so that nothing waits for a setting.
type shards struct {
	w *Worker
	// running are the queues of events that this worker runs: those of its settings, and
	// others that were found to have tasks. They stay until the worker ends.
	running []string
	// n is how many events the worker runs at once; 0 if it runs none.
	n int

	mu    sync.Mutex // guards known
	known []string
}

func newShards(w *Worker) *shards {
	own := tasks.EventQueues(w.cfg.EventShards)
	return &shards{w: w, running: own, n: w.cfg.Concurrency[tasks.QueueEvents], known: append(tasks.Queues(), own[1:]...)}
}

// queues returns all queues that are known, of events and of everything else.
func (s *shards) queues() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// run looks at once and then every lookForShards, until ctx ends.
func (s *shards) run(ctx context.Context) {
	tick := time.NewTicker(lookForShards)
	defer tick.Stop()
	for {
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.w.cfg.Log.Debug("shards not looked for", zap.Error(err)) // Redis is away, which others tell
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look notes which queues there are, and begins to run the shards that have tasks and
// that this worker does not run.
func (s *shards) look(ctx context.Context) error {
	known, err := tasks.KnownQueues(ctx, s.w.cfg.Redis)
	if err != nil {
		return err
	}
	var others []string
	for _, queue := range known {
		if tasks.BaseQueue(queue) == tasks.QueueEvents && !slices.Contains(s.running, queue) {
			others = append(others, queue)
		}
	}
	s.mu.Lock()
	s.known = known
	s.mu.Unlock()
	if s.n == 0 || len(others) == 0 {
		return nil
	}
	// What is done and retained counts too: somebody must forget it in time.
	used, err := tasks.InUse(ctx, s.w.cfg.Redis, others)
	if err != nil {
		return err
	}
	total := len(s.running) + len(used)
	for _, queue := range used {
		if err := s.adopt(queue, part(s.n, total-1, total)); err != nil {
			return err
		}
	}
	return nil
}

// adopt runs n tasks at once of a queue that the settings do not name.
func (s *shards) adopt(queue string, n int) error {
	var started []*asynq.Server
	for _, server := range s.w.newServers(queue, n) {
		if err := server.Start(s.w); err != nil {
			if len(started) == 0 {
				return fmt.Errorf("run queue %s: %w", queue, err)
			}
			break // fewer will do
		}
		started = append(started, server)
	}
	s.w.servers = append(s.w.servers, started...)
	s.running = append(s.running, queue)
	s.w.cfg.Log.Warn("running a queue of events that the settings do not name: another process has, or had, more of KLINGHOOK_EVENT_SHARDS",
		zap.String("queue", queue), zap.Int("event_shards", max(s.w.cfg.EventShards, 1)), zap.Int("concurrency", n))
	return nil
}

// newShardServers returns the servers that run n tasks at once of a queue: of events,
// of its shards together, though one of each at the least.
func (w *Worker) newShardServers(queue string, n int) []*asynq.Server {
	queues := []string{queue}
	if queue == tasks.QueueEvents {
		queues = tasks.EventQueues(w.cfg.EventShards)
	}
	var servers []*asynq.Server
	for i, shard := range queues {
		servers = append(servers, w.newServers(shard, part(n, i, len(queues)))...)
	}
	return servers
}

// part is how many of n the i-th of so many shards gets, one at the least.
func part(n, i, shards int) int {
	if i < n%shards {
		return n/shards + 1
	}
	return max(n/shards, 1)
}
