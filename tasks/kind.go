package tasks

import (
	"fmt"
	"time"
)

// Kind is a task's kind, "noun:verb". asynq calls it the task's type.
type Kind string

// The kinds of work.
const (
	// KindEventRecord keeps an event and moves its job forward.
	KindEventRecord Kind = "event:record"
	// KindMediaDownload brings one file of a job into the bucket.
	KindMediaDownload Kind = "media:download"
	// KindNotifySend tells one destination of one thing that happened.
	KindNotifySend Kind = "notify:send"
	// KindRejectionKeep keeps a sample of the deliveries that were refused.
	KindRejectionKeep Kind = "rejection:keep"
)

// The queues. Each has workers of its own, so that slow downloads hold up
// neither events nor notifications.
const (
	// QueueEvents may have shards, which [EventQueues] names.
	QueueEvents = "events"
	QueueMedia  = "media"
	QueueNotify = "notify"
	// QueueRejections is of little weight and little traffic.
	QueueRejections = "rejections"
)

// Policy is how one kind of task is queued and retried.
type Policy struct {
	Kind Kind
	// Queue is [QueueEvents] for all its shards.
	Queue string
	// Attempts is how often a task is run before it is given up. It is never
	// below 4: asynq counts a killed worker's run and a lost dequeue reply.
	Attempts int
	// Timeout bounds one attempt.
	Timeout time.Duration
	// Retention is how long a finished task keeps its id from being enqueued
	// again, and can be seen in the queue pages. It costs Redis the payload and
	// about 700 bytes a task.
	Retention time.Duration
	// BackoffBase is the longest wait before the second attempt; it doubles from
	// attempt to attempt up to BackoffCap. The wait itself is drawn evenly from
	// zero up to that (full jitter).
	BackoffBase, BackoffCap time.Duration
}

// Policies returns the policy table, one row for each kind.
//
// Recording is cheap and must outlast a database that is away for hours; so must the
// keeping of samples, or strangers could fill the dead letters meanwhile. A
// download's attempts are spread over about a day: some relays' links die after
// an hour, Kling's own after 30 days.
func Policies() []Policy {
	table := policies()
	return table[:]
}

// policies is Policies as a value: it is looked at several times a delivery.
func policies() [4]Policy {
	return [...]Policy{
		{Kind: KindEventRecord, Queue: QueueEvents, Attempts: 60, Timeout: time.Minute, Retention: time.Hour, BackoffBase: time.Second, BackoffCap: 10 * time.Minute},
		{Kind: KindMediaDownload, Queue: QueueMedia, Attempts: 30, Timeout: time.Hour, Retention: time.Hour, BackoffBase: 4 * time.Second, BackoffCap: time.Hour},
		{Kind: KindNotifySend, Queue: QueueNotify, Attempts: 20, Timeout: time.Minute, Retention: time.Hour, BackoffBase: 4 * time.Second, BackoffCap: time.Hour},
		{Kind: KindRejectionKeep, Queue: QueueRejections, Attempts: 60, Timeout: time.Minute, Retention: time.Minute, BackoffBase: time.Second, BackoffCap: 10 * time.Minute},
	}
}

// PolicyOf returns the policy of a kind. Its error names the kinds there are.
func PolicyOf(kind Kind) (Policy, error) {
	table := policies()
	for i := range table {
		if table[i].Kind == kind {
			return table[i], nil
		}
	}
	known := make([]Kind, 0, len(table))
	for _, p := range table {
		known = append(known, p.Kind)
	}
	return Policy{}, fmt.Errorf("unknown task kind %q: known are %q", kind, known)
}

// Queues returns the names of all queues, in the policy table's order. Of events, that
// is the first shard; [KnownQueues] has the others.
func Queues() []string {
	var names []string
	seen := make(map[string]bool)
	for _, p := range Policies() {
		if !seen[p.Queue] {
			seen[p.Queue] = true
			names = append(names, p.Queue)
		}
	}
	return names
}
