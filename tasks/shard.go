package tasks

import (
	"hash/fnv"
	"strconv"
	"strings"
)

// In a Redis cluster, all keys of a queue are in one slot, and so on one node. Events
// may be spread over several queues, their shards: "events", "events-1", "events-2", …
// Three shards use all nodes of a three-node cluster, and four shards all of a four-node one.

// MaxEventShards is the largest number of shards.
const MaxEventShards = 64

// EventQueues returns the event queues for a number of shards, at least one.
func EventQueues(shards int) []string {
	names := []string{QueueEvents}
	for i := 1; i < min(shards, MaxEventShards); i++ {
		names = append(names, QueueEvents+"-"+strconv.Itoa(i))
	}
	return names
}

// BaseQueue returns [QueueEvents] for its shards and any other queue unchanged.
func BaseQueue(queue string) string {
	if number, found := strings.CutPrefix(queue, QueueEvents+"-"); found {
		if n, err := strconv.Atoi(number); err == nil && n > 0 && strconv.Itoa(n) == number {
			return QueueEvents
		}
	}
	return queue
}

// shardOf returns the shard of a task, from 0. It depends on the ID alone, so that a
// repeated delivery finds its own task.
func shardOf(taskID string, shards int) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(taskID)) // never fails
	return int(hash.Sum32() % uint32(shards))
}
