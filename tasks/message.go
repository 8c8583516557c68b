package tasks

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Message is a task as asynq keeps it in Redis, ready to be enqueued by [Bulk].
type Message struct {
	// TaskID is the task's ID, and Queue the queue that it belongs to.
	TaskID, Queue string
	// Encoded is asynq's TaskMessage in Protocol Buffers' wire format.
	Encoded []byte
}

// The fields of asynq's TaskMessage (internal/proto/asynq.proto, v0.26), as they are
// tagged on the wire: their number, and whether they are of bytes or an integer.
const (
	fieldType      = 1<<3 | wireBytes
	fieldPayload   = 2<<3 | wireBytes
	fieldID        = 3<<3 | wireBytes
	fieldQueue     = 4<<3 | wireBytes
	fieldRetry     = 5<<3 | wireVarint
	fieldTimeout   = 8<<3 | wireVarint
	fieldRetention = 12<<3 | wireVarint
	fieldHeaders   = 15<<3 | wireBytes

	wireVarint = 0
	wireBytes  = 2
	// A header is a message in the message: its name and its value.
	fieldName  = 1<<3 | wireBytes
	fieldValue = 2<<3 | wireBytes
)

// NewMessage encodes a task as asynq's own client does, by its kind's policy, in a
// tenth of the time: each delivery passes through here. shards are the queues over which
// events are spread, as [EventQueues] names them, where they are. Its error is that of
// an unknown kind.
func NewMessage(t Task, shards ...string) (Message, error) {
	p, err := PolicyOf(t.Kind)
	if err != nil {
		return Message{}, fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	if p.Queue == QueueEvents && len(shards) > 0 {
		p.Queue = shards[shardOf(t.ID, len(shards))]
	}
	b := make([]byte, 0, 96+len(t.Kind)+len(t.Payload)+len(t.ID)+len(p.Queue)+len(t.Trace))
	b = appendField(b, fieldType, string(t.Kind))
	b = appendField(b, fieldPayload, t.Payload)
	b = appendField(b, fieldID, t.ID)
	b = appendField(b, fieldQueue, p.Queue)
	b = appendNumber(b, fieldRetry, uint64(p.Attempts-1)) //nolint:gosec // the policy table has no negative ones
	b = appendNumber(b, fieldTimeout, uint64(p.Timeout/time.Second))
	b = appendNumber(b, fieldRetention, uint64(p.Retention/time.Second))
	if t.Trace != "" {
		b = append(b, fieldHeaders)
		b = binary.AppendUvarint(b, uint64(sizeOf(traceHeader)+sizeOf(t.Trace)))
		b = appendField(b, fieldName, traceHeader)
		b = appendField(b, fieldValue, t.Trace)
	}
	return Message{TaskID: t.ID, Queue: p.Queue, Encoded: b}, nil
}

func appendField[T string | []byte](b []byte, tag byte, value T) []byte {
	if len(value) == 0 {
		return b // as if it were not there
	}
	b = binary.AppendUvarint(append(b, tag), uint64(len(value)))
	return append(b, value...)
}

func appendNumber(b []byte, tag byte, n uint64) []byte {
	if n == 0 {
		return b
	}
	return binary.AppendUvarint(append(b, tag), n)
}

// sizeOf is what a short field takes, its tag and its length included.
func sizeOf(value string) int {
	return 1 + len(binary.AppendUvarint(nil, uint64(len(value)))) + len(value)
}
