package tasks

import (
	"fmt"
	"slices"
	"time"
)

// Kind is a task's kind, "noun:verb". asynq calls it the task's type.
type Kind string

// The kinds of work.
const (
	// KindEventRecord stores an event and moves its job forward.
	KindEventRecord Kind = "event:record"
	// KindMediaDownload downloads one file of a job into the bucket.
	KindMediaDownload Kind = "media:download"
	// KindMediaFind asks Kling again for a file that a completed job lacks. It is enqueued
	// only to replay a dead letter.
	KindMediaFind Kind = "media:find"
	// KindNotifySend sends one notification to one destination.
	KindNotifySend Kind = "notify:send"
	// KindRejectionKeep stores a sample of a refused delivery.
	KindRejectionKeep Kind = "rejection:keep"
)

// The queues. Each has its own workers, so that slow downloads delay neither events
// nor notifications.
const (
	// QueueEvents may have shards; see [EventQueues].
	QueueEvents     = "events"
	QueueMedia      = "media"
	QueueNotify     = "notify"
	QueueRejections = "rejections"
)

// Policy is how one kind of task is queued and retried.
type Policy struct {
	Kind Kind
	// Queue is [QueueEvents] for all its shards.
	Queue string
	// Attempts is how many times a task runs before it is archived. It is at least 4,
	// because a killed worker and a lost dequeue reply each cost an attempt.
	Attempts int
	// Timeout bounds one attempt.
	Timeout time.Duration
	// Retention is how long a finished task blocks its ID and shows in the queue pages.
	// It costs Redis the payload and about 700 bytes per task.
	Retention time.Duration
	// BackoffBase limits the wait before the second attempt. The limit doubles with each
	// attempt up to BackoffCap. The wait is random, from zero to the limit (full jitter).
	BackoffBase, BackoffCap time.Duration
	// MaxQueued limits the tasks in the queue, in any state; 0 means no limit.
	MaxQueued int
}

// policies is the policy table, one row per kind.
//
// Events are retried through a database outage of hours. So are samples, or strangers
// could fill the dead letters during an outage. A sample has at most 32 KiB, so 256 of
// them cost Redis less than 16 MiB. Downloads and notifications are retried for about a
// day. Links of some relays expire after an hour, Kling's own after 30 days. A failing
// destination is paused before its notifications run out of attempts.
var policies = []Policy{
	{Kind: KindEventRecord, Queue: QueueEvents, Attempts: 60, Timeout: time.Minute, Retention: time.Hour, BackoffBase: time.Second, BackoffCap: 10 * time.Minute},
	{Kind: KindMediaDownload, Queue: QueueMedia, Attempts: 30, Timeout: time.Hour, Retention: time.Hour, BackoffBase: 4 * time.Second, BackoffCap: time.Hour},
	{Kind: KindMediaFind, Queue: QueueMedia, Attempts: 10, Timeout: time.Minute, Retention: time.Minute, BackoffBase: time.Second, BackoffCap: 10 * time.Minute},
	{Kind: KindNotifySend, Queue: QueueNotify, Attempts: 72, Timeout: time.Minute, Retention: time.Hour, BackoffBase: 4 * time.Second, BackoffCap: time.Hour},
	{Kind: KindRejectionKeep, Queue: QueueRejections, Attempts: 60, Timeout: time.Minute, Retention: time.Minute, BackoffBase: time.Second, BackoffCap: 10 * time.Minute, MaxQueued: 256},
}

// Policies returns the policy table, one row per kind.
func Policies() []Policy { return slices.Clone(policies) }

// PolicyOf returns the policy of a kind. Its error lists the known kinds.
func PolicyOf(kind Kind) (Policy, error) {
	known := make([]Kind, 0, len(policies))
	for _, policy := range policies {
		if policy.Kind == kind {
			return policy, nil
		}
		known = append(known, policy.Kind)
	}
	return Policy{}, fmt.Errorf("unknown task kind %q: known are %q", kind, known)
}

// Queues returns the names of all queues, in the policy table's order. It lists only the
// first shard of events; see [AllQueues].
func Queues() []string {
	var names []string
	for _, policy := range policies {
		if !slices.Contains(names, policy.Queue) {
			names = append(names, policy.Queue)
		}
	}
	return names
}

// AllQueues returns the names of all queues when events have this many shards.
func AllQueues(shards int) []string { return append(Queues(), EventQueues(shards)[1:]...) }
