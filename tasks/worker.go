package tasks

import (
	"fmt"
	"slices"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// Workers returns how many worker processes run each queue. A process that was killed
// counts for ten more seconds. asynq's Inspector takes no context: the timeouts of rdb
// limit the call.
func Workers(rdb redis.UniversalClient) (map[string]int, error) {
	servers, err := asynq.NewInspectorFromRedisClient(rdb).Servers()
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	seen := map[string]bool{} // a process may have several servers for a queue
	running := map[string]int{}
	for _, server := range servers {
		for queue := range server.Queues {
			if key := fmt.Sprintf("%s %d %s", server.Host, server.PID, queue); !seen[key] {
				seen[key] = true
				running[queue]++
			}
		}
	}
	return running, nil
}

// QueuesWithout returns the queues that no worker runs, given the result of [Workers].
func QueuesWithout(running map[string]int, eventShards int) []string {
	return slices.DeleteFunc(AllQueues(eventShards), func(queue string) bool { return running[queue] > 0 })
}
