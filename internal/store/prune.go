package store

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Retention is how long finished work is kept; 0 means forever.
type Retention struct {
	// Events is for raw events, for dead letters that have ended, and for samples of
	// refused deliveries.
	Events time.Duration
	// Jobs is for jobs, with everything that belongs to them. A job with a stored file is
	// kept as long as the file.
	Jobs time.Duration
	// Media is for stored files.
	Media time.Duration
}

// Pruning configures [Store.Prune].
type Pruning struct {
	Retention
	// Now is the time from which ages are measured.
	Now time.Time
	// DryRun counts what would be deleted and deletes nothing.
	DryRun bool
}

// Pruned counts deleted rows. "klinghook prune --json" prints it.
type Pruned struct {
	Events int64 `json:"events"`
	Jobs   int64 `json:"jobs"`
	// Files is how many files were deleted, and Bytes their total size. Their objects are
	// doomed; see [Store.DoomedObjects].
	Files       int64 `json:"files"`
	Bytes       int64 `json:"bytes"`
	DeadLetters int64 `json:"dead_letters"`
	Rejections  int64 `json:"rejections"`
}

const (
	// pruneBatch is how many rows one transaction of [Store.Prune] checks.
	pruneBatch = 500
	// tombstoneTime is how long events of a pruned job are dropped. No sender repeats a
	// delivery after that long.
	tombstoneTime = 365 * 24 * time.Hour
)

// owedEvent is the condition that an event, e, is neither processed nor discarded.
const owedEvent = `(e.processed_at IS NULL AND NOT EXISTS (
	SELECT 1 FROM dead_letters l WHERE l.event_id = e.id AND l.event_id <> '' AND l.state = 'discarded'))`

// busyJob is the condition that a job, j, is in progress or has work left. A test callback
// is not in progress.
const busyJob = `(j.status IN ('created', 'processing') AND NOT (j.status = 'created' AND ` + perhapsTest + `)
	OR j.no_media <> '' AND j.lookup_at IS NOT NULL
	OR EXISTS (SELECT 1 FROM events e WHERE e.platform = j.platform AND e.job_id = j.id AND ` + owedEvent + `)
	OR EXISTS (SELECT 1 FROM media m WHERE m.platform = j.platform AND m.job_id = j.id AND m.state = 'pending')
	OR EXISTS (SELECT 1 FROM notifications n WHERE n.platform = j.platform AND n.job_id = j.id AND n.state = 'pending')
	OR EXISTS (SELECT 1 FROM dead_letters d WHERE d.platform = j.platform AND d.job_id = j.id AND d.state = 'dead')
	OR EXISTS (SELECT 1 FROM lookup_requests r WHERE r.platform = j.platform AND r.job_id = j.id))`

// prunableEvent is the condition that an event, e, and its job have no work left.
const prunableEvent = `NOT ` + owedEvent + `
	AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.event_id = e.id AND d.event_id <> '' AND d.state = 'dead')
	AND NOT EXISTS (SELECT 1 FROM lookup_requests q WHERE q.platform = e.platform AND q.job_id = e.job_id)
	AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.platform = e.platform AND j.id = e.job_id AND ` + busyJob + `)`

// pruner is one run of [Store.Prune].
type pruner struct {
	*Store
	Pruning
	pruned Pruned
}

// Prune deletes finished work that is older than its retention, in small transactions
// with pauses between them.
// It deletes nothing that is owed or in progress. It may run more than once, in several
// processes at once, and be interrupted anywhere: the next run continues.
//
// A job keeps its row and its notifications when its events are deleted, so that an event
// delivered again takes no second effect. A deleted job leaves a tombstone for a year, as
// in [Store.BeginErasure].
func (s *Store) Prune(ctx context.Context, p Pruning) (Pruned, error) {
	run := pruner{Store: s, Pruning: p}
	for _, step := range []struct {
		keep time.Duration
		run  func(ctx context.Context, before any) error
	}{
		{p.Events, run.events}, {p.Events, run.deadLetters}, {p.Events, run.rejections}, {p.Events, run.attempts}, {p.Events, run.answers},
		{p.Media, run.media},
		{p.Jobs, run.jobs}, {p.Jobs, run.notifications}, {-1, run.tombstones},
	} {
		if step.keep == 0 {
			continue
		}
		if err := step.run(ctx, s.dialect.time(p.Now.Add(-max(step.keep, 0)))); err != nil {
			return run.pruned, wrap(err, "prune")
		}
	}
	return run.pruned, nil
}

// agedRows are rows of one table that may be deleted when they are old enough.
type agedRows struct {
	// from is the table with its alias; time is the column from which ages are measured.
	from, time string
	// where is the condition of the time column's partial index; empty if it has none.
	where string
	// condition says which of them may be deleted.
	condition string
	// first is less than all ids.
	first any
	count *int64
}

// aged identifies a row by its time and id.
type aged struct {
	at time.Time
	id any
}

func scanAged(row scanner) (a aged, err error) {
	err = row.Scan(instant{&a.at}, &a.id)
	return a, err
}

// delete deletes the rows before a time that meet their condition. Each transaction checks
// at most pruneBatch rows, so that none takes long.
func (p *pruner) delete(ctx context.Context, rows agedRows, before any) error {
	query := fmt.Sprintf(`SELECT %[2]s, id FROM %[1]s WHERE %[3]s %[2]s < $1 AND (%[2]s, id) > ($2, $3) ORDER BY %[2]s, id LIMIT $4`, rows.from, rows.time, rows.where)
	pages := batches(pruneBatch, []any{p.dialect.time(longAgo), rows.first}, func(after []any) ([]aged, error) {
		return collect(ctx, p.db, scanAged, query, before, after[0], after[1], pruneBatch)
	}, func(row aged) []any { return []any{p.dialect.time(row.at), row.id} })
	return eachPage(ctx, pages, func(list []aged) error {
		ids := make([]any, len(list))
		for i, row := range list {
			ids[i] = row.id
		}
		conditions := where{conditions: []string{rows.condition}}
		andIn(&conditions, "id", ids)
		n, err := p.deleteWhere(ctx, rows.from, conditions.String(), conditions.args...)
		*rows.count += n
		return err
	})
}

// eachPage calls prune for each page and then pauses.
func eachPage[T any](ctx context.Context, pages iter.Seq2[[]T, error], prune func([]T) error) error {
	for page, err := range pages {
		if err != nil {
			return err
		}
		start := time.Now()
		if err := prune(page); err != nil {
			return err
		}
		pause(ctx, start)
	}
	return ctx.Err()
}

// pause leaves the database to other work for as long as a transaction took.
func pause(ctx context.Context, start time.Time) {
	select {
	case <-time.After(time.Since(start)):
	case <-ctx.Done():
	}
}

// deleteWhere deletes rows, or counts them in a dry run. It leaves rows locked by other
// transactions to a later run.
func (p *pruner) deleteWhere(ctx context.Context, from, rest string, args ...any) (int64, error) {
	if p.DryRun {
		return one(ctx, p.db, scanOne[int64], `SELECT count(*) FROM `+from+rest, args...)
	}
	table, _, _ := strings.Cut(from, " ")
	res, err := p.db.ExecContext(ctx, `DELETE FROM `+table+` WHERE id IN (SELECT id FROM `+from+rest+p.dialect.claim+`)`, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// deleteExpired deletes rows whose time has passed, unless it is a dry run. key is the
// table's primary key.
func (p *pruner) deleteExpired(ctx context.Context, table, key, column string, before any) error {
	if p.DryRun {
		return nil
	}
	for {
		start := time.Now()
		res, err := p.db.ExecContext(ctx, `DELETE FROM `+table+` WHERE (`+key+`) IN (SELECT `+key+` FROM `+table+` WHERE `+column+` < $1 LIMIT $2)`, before, pruneBatch)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n < pruneBatch {
			return err
		}
		pause(ctx, start)
	}
}

func (p *pruner) events(ctx context.Context, before any) error {
	return p.delete(ctx, agedRows{from: "events AS e", time: "received_at", condition: prunableEvent, first: "", count: &p.pruned.Events}, before)
}

// deadLetters keeps those of unprocessed events, which would be owed without them.
func (p *pruner) deadLetters(ctx context.Context, before any) error {
	return p.delete(ctx, agedRows{
		from: "dead_letters AS d", time: "ended_at", where: "state <> 'dead' AND",
		condition: "NOT EXISTS (SELECT 1 FROM events e WHERE e.id = d.event_id AND e.processed_at IS NULL)",
		first:     int64(0), count: &p.pruned.DeadLetters,
	}, before)
}

func (p *pruner) rejections(ctx context.Context, before any) error {
	return p.delete(ctx, agedRows{from: "rejections", time: "received_at", condition: "TRUE", first: "", count: &p.pruned.Rejections}, before)
}

// notifications deletes those that belong to no job.
func (p *pruner) notifications(ctx context.Context, before any) error {
	return p.delete(ctx, agedRows{
		from: "notifications", time: "created_at", where: "job_id = '' AND", condition: "state <> 'pending'", first: "", count: new(int64),
	}, before)
}

// attempts deletes the attempts of tasks that were not given up.
func (p *pruner) attempts(ctx context.Context, before any) error {
	return p.deleteExpired(ctx, "task_attempts", "task_id, attempted_at, attempt", "attempted_at", before)
}

// answers deletes answers to look-ups.
func (p *pruner) answers(ctx context.Context, before any) error {
	return p.deleteExpired(ctx, "lookups", "platform, job_id, asked_at", "asked_at", before)
}

// tombstones deletes those that have expired.
func (p *pruner) tombstones(ctx context.Context, now any) error {
	return p.deleteExpired(ctx, "erasures", "platform, job_id", "expires_at", now)
}
