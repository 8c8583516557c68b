package store

import (
	"context"
	"strconv"

	"github.com/klinghook/klinghook/tasks"
)

// CountLimit limits counts for metrics, to keep them cheap in a large database.
const CountLimit = 100_000

// Counts contains the counts for metrics, each up to [CountLimit].
type Counts struct {
	// Jobs counts jobs by status; it has every status.
	Jobs map[tasks.Status]int
	// DeadLetters counts open dead letters by the kind of their task; it has every kind.
	DeadLetters map[tasks.Kind]int
	// Events counts unprocessed events, Media files to download, and Notifications
	// notifications to send.
	Events, Media, Notifications int
	// Paused counts the destinations that are paused because every attempt failed.
	Paused int
}

// The rows that [Store.Counts] counts; each condition has an index.
const (
	jobsOfStatus         = `jobs WHERE status = $1`
	openDeadLetters      = `dead_letters WHERE state = 'dead' AND kind = $1`
	unprocessedEvents    = `events WHERE processed_at IS NULL`
	pendingMedia         = `media WHERE state = 'pending'`
	pendingNotifications = `notifications WHERE state = 'pending'`
	pausedDestinations   = `destinations WHERE paused_by = 'failures'`
)

// Counts counts jobs, dead letters, and pending work.
func (s *Store) Counts(ctx context.Context) (counts Counts, err error) {
	count := func(from string, args ...any) (n int) {
		if err == nil {
			n, err = s.countUpTo(ctx, from, args...)
		}
		return n
	}
	counts = Counts{Jobs: make(map[tasks.Status]int), DeadLetters: make(map[tasks.Kind]int)}
	for _, status := range tasks.Statuses() {
		counts.Jobs[status] = count(jobsOfStatus, status)
	}
	for _, policy := range tasks.Policies() {
		counts.DeadLetters[policy.Kind] = count(openDeadLetters, policy.Kind)
	}
	counts.Events, counts.Media, counts.Notifications = count(unprocessedEvents), count(pendingMedia), count(pendingNotifications)
	counts.Paused = count(pausedDestinations)
	return counts, wrap(err, "count jobs and owed work")
}

// countUpTo counts rows, at most CountLimit.
func (s *Store) countUpTo(ctx context.Context, from string, args ...any) (int, error) {
	return one(ctx, s.db, scanOne[int], countQuery(from), args...)
}

func countQuery(from string) string {
	return `SELECT count(*) FROM (SELECT 1 FROM ` + from + ` LIMIT ` + strconv.Itoa(CountLimit) + `) counted`
}
