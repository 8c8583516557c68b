package store

import (
	"context"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// DeadLetterGroup is the dead letters of one kind and cause.
type DeadLetterGroup struct {
	// Cause is their common cause; see [DeadLetter].
	Cause string
	Kind  tasks.Kind
	Count int64
	// Newest is the time of the latest failure.
	Newest time.Time
	// Example is the dead letter with the greatest id, without payload and failures.
	Example DeadLetter
}

// maxGroups is the maximum number of groups of [Store.DeadLetterGroups].
const maxGroups = 200

// DeadLetterGroups groups the selected dead letters by kind and cause, largest group
// first, and returns at most 200. It ignores the filter's order and limit.
func (s *Store) DeadLetterGroups(ctx context.Context, filter DeadLetterFilter) ([]DeadLetterGroup, error) {
	conditions := s.selected(filter)
	groups, err := collect(ctx, s.reads, func(row scanner) (g DeadLetterGroup, err error) {
		err = row.Scan(&g.Cause, &g.Kind, &g.Count, instant{&g.Newest}, &g.Example.ID)
		return g, err
	}, groupLetters(conditions), conditions.args...)
	if err != nil || len(groups) == 0 {
		return nil, wrap(err, "group dead letters")
	}
	ids := make([]int64, len(groups))
	byID := make(map[int64]*DeadLetterGroup, len(groups))
	for i := range groups {
		ids[i] = groups[i].Example.ID
		byID[ids[i]] = &groups[i]
	}
	examples, err := s.DeadLetters(ctx, DeadLetterFilter{IDs: ids, Ended: true, Outline: true})
	for _, example := range examples {
		byID[example.ID].Example = example
	}
	return groups, err
}

func groupLetters(conditions where) string {
	return `SELECT cause, kind, count(*), max(failed_at), max(id) FROM dead_letters` + conditions.String() +
		` GROUP BY kind, cause ORDER BY 3 DESC, kind, cause` + conditions.limit(maxGroups)
}
