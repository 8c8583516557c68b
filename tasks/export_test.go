package tasks

// ShardOf is the shard, from 0, of the task with this ID.
func ShardOf(taskID string, shards int) int { return shardOf(taskID, shards) }
