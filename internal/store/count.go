package store

import (
	"context"
	"fmt"

	"github.com/klinghook/klinghook/tasks"
)

// Counts is how much of everything there is that people watch.
type Counts struct {
	// Jobs is by status; every status is in it.
	Jobs map[tasks.Status]int
	// DeadLetters is those that wait for a person, by the kind of their task; every
	// kind is in it.
	DeadLetters map[tasks.Kind]int
	// Events are those whose consequences are owed, Media the files that are to be
	// downloaded, and Notifications those that are to be sent.
	Events, Media, Notifications int
}

// Counts counts. Of the jobs it goes through a whole index.
func (s *Store) Counts(ctx context.Context) (Counts, error) {
	c := Counts{Jobs: make(map[tasks.Status]int), DeadLetters: make(map[tasks.Kind]int)}
	for _, status := range []tasks.Status{
		tasks.StatusCreated, tasks.StatusProcessing, tasks.StatusCompleted, tasks.StatusFailed, tasks.StatusCancelled, tasks.StatusLost,
	} {
		c.Jobs[status] = 0
	}
	for _, p := range tasks.Policies() {
		c.DeadLetters[p.Kind] = 0
	}
	if err := countBy(ctx, s.db, c.Jobs, `SELECT status, count(*) FROM jobs GROUP BY status`); err != nil {
		return Counts{}, fmt.Errorf("count jobs: %w", err)
	}
	if err := countBy(ctx, s.db, c.DeadLetters, `SELECT kind, count(*) FROM dead_letters WHERE state = 'dead' GROUP BY kind`); err != nil {
		return Counts{}, fmt.Errorf("count dead letters: %w", err)
	}
	for into, query := range map[*int]string{
		&c.Events:        `SELECT count(*) FROM events WHERE processed_at IS NULL`,
		&c.Media:         `SELECT count(*) FROM media WHERE state = 'pending'`,
		&c.Notifications: `SELECT count(*) FROM notifications WHERE state = 'pending'`,
	} {
		if err := s.db.QueryRowContext(ctx, query).Scan(into); err != nil {
			return Counts{}, fmt.Errorf("count what is owed: %w", err)
		}
	}
	return c, nil
}

// countBy adds the rows of a query, each a key and how many of it there are.
func countBy[K ~string](ctx context.Context, q queryer, counts map[K]int, query string) error {
	type row struct {
		key K
		n   int
	}
	rows, err := collect(ctx, q, func(s scanner) (r row, err error) {
		err = s.Scan(&r.key, &r.n)
		return r, err
	}, query)
	for _, r := range rows {
		counts[r.key] += r.n
	}
	return err
}
