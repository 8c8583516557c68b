package e2e

import (
	"database/sql"
	"errors"
	"fmt"
)

// kept is the content of klinghook's database.
type kept struct {
	events        map[string]keptEvent
	jobs          map[string]outcome
	media         []keptFile
	notifications []keptNotification
	deadLetters   []string
	rejections    int
	erased        map[string]bool // the jobs with a tombstone
}

type keptEvent struct {
	body      string // its SHA-256
	processed bool
}

type keptFile struct{ job, name, state, object, sum string }

type keptNotification struct{ id, job, kind, state string }

// rows calls scan for all rows of a query.
func (w *world) rows(query string, scan func(row *sql.Rows) error) error {
	list, err := w.db.QueryContext(w.ctx, query)
	if err != nil {
		return err
	}
	for list.Next() {
		if err := scan(list); err != nil {
			return errors.Join(err, list.Close())
		}
	}
	return errors.Join(list.Err(), list.Close())
}

// readStore reads the whole database.
func (w *world) readStore() (kept, error) {
	k := kept{events: map[string]keptEvent{}, jobs: map[string]outcome{}, erased: map[string]bool{}}
	err := errors.Join(
		w.rows(`SELECT id, body, processed_at IS NOT NULL FROM events`, func(r *sql.Rows) error {
			var id string
			var body []byte
			var e keptEvent
			err := r.Scan(&id, &body, &e.processed)
			e.body = sha(body)
			k.events[id] = e
			return err
		}),
		w.rows(`SELECT id, status, coalesce(progress, -1), duration_ms, prompt, error, contradicted FROM jobs`, func(r *sql.Rows) error {
			var id string
			var o outcome
			err := r.Scan(&id, &o.status, &o.progress, &o.milliseconds, &o.prompt, &o.cause, &o.contradicted)
			k.jobs[id] = o
			return err
		}),
		w.rows(`SELECT job_id, name, state, object, sha256 FROM media`, func(r *sql.Rows) error {
			var f keptFile
			err := r.Scan(&f.job, &f.name, &f.state, &f.object, &f.sum)
			k.media = append(k.media, f)
			return err
		}),
		w.rows(`SELECT id, job_id, type, state FROM notifications`, func(r *sql.Rows) error {
			var n keptNotification
			err := r.Scan(&n.id, &n.job, &n.kind, &n.state)
			k.notifications = append(k.notifications, n)
			return err
		}),
		w.rows(`SELECT task_id, error FROM dead_letters WHERE state = 'dead'`, func(r *sql.Rows) error {
			var task, cause string
			err := r.Scan(&task, &cause)
			k.deadLetters = append(k.deadLetters, task+": "+cause)
			return err
		}),
		w.rows(`SELECT job_id FROM erasures`, func(r *sql.Rows) error {
			var job string
			err := r.Scan(&job)
			k.erased[job] = true
			return err
		}),
		w.db.QueryRowContext(w.ctx, `SELECT count(*) FROM rejections`).Scan(&k.rejections),
	)
	if err != nil {
		return k, fmt.Errorf("read the store: %w", err)
	}
	return k, nil
}

// unfinishedErasures counts the deleted jobs that have not been deleted once more: running
// tasks may have written something since.
func (w *world) unfinishedErasures() (n int, err error) {
	err = w.db.QueryRowContext(w.ctx, `SELECT count(*) FROM erasures`).Scan(&n)
	if err == nil && n > 0 { // only on PostgreSQL
		err = w.db.QueryRowContext(w.ctx, `SELECT count(*) FROM erasures WHERE due_at < begun_at + interval '10 minutes'`).Scan(&n)
	}
	return n, err
}

// owed counts the events, files and notifications that the store says are not done.
func (w *world) owed() (n [3]int, err error) {
	err = w.db.QueryRowContext(w.ctx, `
		SELECT (SELECT count(*) FROM events WHERE processed_at IS NULL AND type <> 'unreadable'),
			(SELECT count(*) FROM media WHERE state = 'pending'),
			(SELECT count(*) FROM notifications WHERE state = 'pending')`).Scan(&n[0], &n[1], &n[2])
	return n, err
}
