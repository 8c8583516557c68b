package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
)

// FindLeakedAtMost is FindLeaked with another bound on the keys that it looks at.
func FindLeakedAtMost(ctx context.Context, rdb redis.UniversalClient, most int) (int, error) {
	return findLeaked(ctx, rdb, most)
}

// ShardOf is the shard, from 0, of the task with this ID.
func ShardOf(taskID string, shards int) int { return shardOf(taskID, shards) }

// ReflectedPayload is the payload of RecordEvent as encoding/json writes it.
func ReflectedPayload(ev Event) ([]byte, error) {
	wire := eventWire{
		ID: ev.ID, Source: ev.Source, Type: ev.Type, JobID: ev.JobID, ReceivedAt: ev.ReceivedAt.UTC(), Secret: ev.Secret, Headers: ev.Headers,
	}
	if utf8.Valid(ev.Body) {
		wire.Body = string(ev.Body)
	} else {
		wire.BodyBase64 = ev.Body
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(wire)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}
