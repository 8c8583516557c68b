package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// pruneJobs is how many jobs or files one transaction of [Store.Prune] checks. Each has
// several rows.
const pruneJobs = 100

// agedJob is a job, or one of its files, with the time from which its age is measured.
type agedJob struct {
	at   time.Time
	job  tasks.JobKey
	name string // of the file
}

func scanAgedJob(row scanner) (a agedJob, err error) {
	err = row.Scan(instant{&a.at}, &a.job.Platform, &a.job.ID, &a.name)
	return a, err
}

// eachJob calls prune with the jobs of the rows before a time. The query sorts the rows by
// its first columns, as many as length.
func (p *pruner) eachJob(ctx context.Context, query string, length int, before any, prune func([]tasks.JobKey) error) error {
	key := func(a agedJob) []any { return []any{p.dialect.time(a.at), a.job.Platform, a.job.ID, a.name}[:length] }
	pages := batches(pruneJobs, key(agedJob{at: longAgo}), func(after []any) ([]agedJob, error) {
		return collect(ctx, p.db, scanAgedJob, query, append(append([]any{before}, after...), pruneJobs)...)
	}, key)
	return eachPage(ctx, pages, func(list []agedJob) error {
		jobs := make([]tasks.JobKey, len(list))
		for i, a := range list {
			jobs[i] = a.job
		}
		return prune(jobs)
	})
}

const agedFiles = `
	SELECT stored_at, platform, job_id, name FROM media
	WHERE state = 'stored' AND stored_at < $1 AND (stored_at, platform, job_id, name) > ($2, $3, $4, $5)
	ORDER BY stored_at, platform, job_id, name LIMIT $6`

// agedFile is a stored file to delete.
type agedFile struct {
	fileKey
	objects []string
	size    int64
}

func scanAgedFile(row scanner) (file agedFile, err error) {
	err = row.Scan(&file.job.Platform, &file.job.ID, &file.name, asJSON{&file.objects}, &file.size)
	return file, err
}

// media marks files as deleted and dooms their objects.
func (p *pruner) media(ctx context.Context, before any) error {
	return p.eachJob(ctx, agedFiles, 4, before, func(jobs []tasks.JobKey) error {
		var files []agedFile
		err := p.inTx(ctx, func(tx *sql.Tx) (err error) {
			conditions := where{conditions: []string{
				"m.state = 'stored'", "m.stored_at < $1",
				"NOT EXISTS (SELECT 1 FROM jobs j WHERE j.platform = m.platform AND j.id = m.job_id AND " + busyJob + ")",
			}, args: []any{before}}
			conditions.andJobs("m.job_id", jobs)
			files, err = collect(ctx, tx, scanAgedFile, `SELECT m.platform, m.job_id, m.name, m.objects, m.size_bytes FROM media m`+
				conditions.String()+p.dialect.claim, conditions.args...)
			if err != nil {
				return err
			}
			for _, file := range files {
				if err := p.deleteFile(ctx, tx, file); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, file := range files {
			p.pruned.Files++
			p.pruned.Bytes += file.size
		}
		return nil
	})
}

// deleteFile marks a file as deleted. It keeps the row, so that the job still shows the file.
func (p *pruner) deleteFile(ctx context.Context, tx *sql.Tx, file agedFile) error {
	if p.DryRun {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE media SET state = $4, deleted_at = $5, updated_at = $5, object = '', objects = '[]', stored_url = '', publishing = ''
		WHERE platform = $1 AND job_id = $2 AND name = $3`,
		file.job.Platform, file.job.ID, file.name, MediaDeleted, p.dialect.time(p.Now))
	if err != nil {
		return err
	}
	return doom(ctx, tx, p.dialect, file.objects, p.Now)
}

const agedJobs = `
	SELECT last_received_at, platform, id, '' FROM jobs
	WHERE last_received_at < $1 AND (last_received_at, platform, id) > ($2, $3, $4)
	ORDER BY last_received_at, platform, id LIMIT $5`

// jobs deletes jobs that have no work left and no stored file to keep.
func (p *pruner) jobs(ctx context.Context, before any) error {
	return p.eachJob(ctx, agedJobs, 3, before, func(jobs []tasks.JobKey) error {
		due, err := p.dueJobs(ctx, p.db, jobs, before)
		if err != nil || len(due) == 0 {
			return err
		}
		if p.DryRun {
			p.pruned.Jobs += int64(len(due))
			return nil
		}
		if err := p.eventsOf(ctx, due, before); err != nil {
			return err
		}
		err = p.inTx(ctx, func(tx *sql.Tx) error {
			// A transaction that records an event of a locked job waits, and then finds the
			// tombstone. If it came first, dueJobs sees the event, or the job is still locked
			// and skipped.
			var conditions where
			conditions.andJobs("id", due)
			locked, err := collect(ctx, tx, scanKey, `SELECT platform, id FROM jobs`+conditions.String()+p.dialect.claim, conditions.args...)
			due = nil
			if err == nil && len(locked) > 0 {
				due, err = p.dueJobs(ctx, tx, locked, before)
			}
			if err != nil || len(due) == 0 {
				return err
			}
			return p.deleteJobs(ctx, tx, due)
		})
		if err == nil {
			p.pruned.Jobs += int64(len(due))
		}
		return err
	})
}

// dueJobs returns those of the jobs that may be deleted.
func (p *pruner) dueJobs(ctx context.Context, db queryer, jobs []tasks.JobKey, before any) ([]tasks.JobKey, error) {
	keptSince := longAgo
	if p.Media > 0 {
		keptSince = p.Now.Add(-p.Media)
	}
	conditions := where{conditions: []string{
		"last_received_at < $1", "NOT " + busyJob,
		"NOT EXISTS (SELECT 1 FROM media f WHERE f.platform = j.platform AND f.job_id = j.id AND f.state = 'stored' AND f.stored_at >= $2)",
	}, args: []any{before, p.dialect.time(keptSince)}}
	conditions.andJobs("id", jobs)
	return collect(ctx, db, scanKey, `SELECT platform, id FROM jobs j`+conditions.String()+` ORDER BY platform, id`, conditions.args...)
}

// eventsOf deletes the old events of jobs in several transactions: there may be many.
func (p *pruner) eventsOf(ctx context.Context, jobs []tasks.JobKey, before any) error {
	conditions := where{conditions: []string{"received_at < $1", "processed_at IS NOT NULL"}, args: []any{before}}
	conditions.andJobs("job_id", jobs)
	for {
		n, err := p.deleteWhere(ctx, "events", conditions.String()+conditions.limit(pruneBatch), conditions.args...)
		if err != nil || n < pruneBatch {
			return err
		}
	}
}

// deleteJobs deletes jobs with everything that belongs to them, and dooms their objects.
// Until their tombstones expire, events of the jobs are dropped.
func (p *pruner) deleteJobs(ctx context.Context, tx *sql.Tx, jobs []tasks.JobKey) error {
	begun := time.Now() // not p.Now, which may be long past: a deletion is news
	tombstones := make([][]any, len(jobs))
	for i, job := range jobs {
		tombstones[i] = []any{job.Platform, job.ID, p.dialect.time(begun.Add(time.Duration(i) * time.Microsecond)), p.dialect.time(p.Now.Add(tombstoneTime))}
	}
	_, err := insertRows(ctx, tx, p.dialect, scanKey, `INSERT INTO erasures (platform, job_id, begun_at, expires_at)`, tombstones,
		`ON CONFLICT (platform, job_id) DO NOTHING RETURNING platform, job_id`)
	if err != nil {
		return wrap(err, "leave tombstones")
	}
	var of where
	of.andJobs("job_id", jobs)
	objects, err := collect(ctx, tx, func(row scanner) (list []string, err error) {
		err = row.Scan(asJSON{&list})
		return list, err
	}, `SELECT objects FROM media`+of.String(), of.args...)
	if err != nil {
		return wrap(err, "read objects")
	}
	if err := doom(ctx, tx, p.dialect, slices.Concat(objects...), p.Now); err != nil {
		return err
	}
	_, err = eraseRows(ctx, tx, jobs)
	return wrap(err, "delete the rows of %d jobs", len(jobs))
}
