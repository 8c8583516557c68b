package store

import (
	"context"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Change is news of a job: of its row, a file or a dead letter, or that it was deleted.
type Change struct {
	Job     tasks.JobKey
	At      time.Time
	Deleted bool
}

// LastChange returns the time of the latest change; zero if there is none.
func (s *Store) LastChange(ctx context.Context) (time.Time, error) {
	last, err := one(ctx, s.reads, func(row scanner) (at time.Time, err error) {
		err = row.Scan(instant{&at})
		return at, err
	}, lastChange)
	return last, wrap(err, "read last change")
}

// Changes returns at most limit changes after a time, oldest first. A change may become
// visible some seconds after its time, when its transaction ends, and the clocks of
// processes differ. To miss none, start some seconds before the last change seen and skip
// known ones.
func (s *Store) Changes(ctx context.Context, after time.Time, limit int) ([]Change, error) {
	list, err := collect(ctx, s.reads, func(row scanner) (c Change, err error) {
		err = row.Scan(&c.Job.Platform, &c.Job.ID, instant{&c.At}, &c.Deleted)
		return c, err
	}, changes, s.dialect.time(later(after, longAgo)), limit)
	return list, wrap(err, "list changes")
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lastChange and changes read only the ends of five indexes.
const (
	lastChange = `
		SELECT max(at) FROM (
			SELECT max(changed_at) AS at FROM jobs UNION ALL SELECT max(updated_at) FROM media
			UNION ALL SELECT max(failed_at) FROM dead_letters UNION ALL SELECT max(ended_at) FROM dead_letters WHERE state <> 'dead'
			UNION ALL SELECT max(begun_at) FROM erasures
		) latest`
	changes = `
		SELECT platform, id, at, deleted FROM (
			SELECT * FROM (SELECT platform, id, changed_at AS at, FALSE AS deleted FROM jobs WHERE changed_at > $1 ORDER BY changed_at LIMIT $2) a
			UNION SELECT * FROM (SELECT platform, job_id, updated_at, FALSE FROM media WHERE updated_at > $1 ORDER BY updated_at LIMIT $2) b
			UNION SELECT * FROM (SELECT platform, job_id, failed_at, FALSE FROM dead_letters WHERE failed_at > $1 AND job_id <> '' ORDER BY failed_at LIMIT $2) c
			UNION SELECT * FROM (SELECT platform, job_id, ended_at, FALSE FROM dead_letters WHERE ended_at > $1 AND state <> 'dead' AND job_id <> '' ORDER BY ended_at LIMIT $2) d
			UNION SELECT * FROM (SELECT platform, job_id, begun_at, TRUE FROM erasures WHERE begun_at > $1 ORDER BY begun_at LIMIT $2) e
		) changed ORDER BY at, platform, id LIMIT $2`
)
