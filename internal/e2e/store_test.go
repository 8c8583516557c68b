package e2e

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
)

// kept is the content of klinghook's database.
type kept struct {
	events        map[string]keptEvent
	jobs          map[string]outcome
	media         []keptFile
	notifications []keptNotification
	deadLetters   []deadLetter
	rejections    int
}

type keptEvent struct {
	body      string // its SHA-256
	processed bool
}

type keptFile struct{ job, name, state, object, sum string }

type keptNotification struct{ id, job, kind, state string }

type deadLetter struct{ task, kind, job, cause string }

// scanner is a row of a query.
type scanner interface{ Scan(values ...any) error }

// rows calls scan for all rows of a query.
func rows(ctx context.Context, db *sql.DB, query string, scan func(scanner) error) error {
	list, err := db.QueryContext(ctx, query)
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
func readStore(ctx context.Context, db *sql.DB) (kept, error) {
	k := kept{events: map[string]keptEvent{}, jobs: map[string]outcome{}}
	err := errors.Join(
		rows(ctx, db, `SELECT id, body, processed_at IS NOT NULL FROM events`, func(r scanner) error {
			var id string
			var body []byte
			var e keptEvent
			err := r.Scan(&id, &body, &e.processed)
			sum := sha256.Sum256(body)
			e.body = hex.EncodeToString(sum[:])
			k.events[id] = e
			return err
		}),
		rows(ctx, db, `SELECT id, status, coalesce(progress, -1), prompt, error, contradicted FROM jobs`, func(r scanner) error {
			var id string
			var o outcome
			err := r.Scan(&id, &o.status, &o.progress, &o.prompt, &o.cause, &o.contradicted)
			k.jobs[id] = o
			return err
		}),
		rows(ctx, db, `SELECT job_id, name, state, object, sha256 FROM media`, func(r scanner) error {
			var f keptFile
			err := r.Scan(&f.job, &f.name, &f.state, &f.object, &f.sum)
			k.media = append(k.media, f)
			return err
		}),
		rows(ctx, db, `SELECT id, job_id, type, state FROM notifications`, func(r scanner) error {
			var n keptNotification
			err := r.Scan(&n.id, &n.job, &n.kind, &n.state)
			k.notifications = append(k.notifications, n)
			return err
		}),
		rows(ctx, db, `SELECT task_id, kind, job_id, error FROM dead_letters WHERE state = 'dead'`, func(r scanner) error {
			var d deadLetter
			err := r.Scan(&d.task, &d.kind, &d.job, &d.cause)
			k.deadLetters = append(k.deadLetters, d)
			return err
		}),
		db.QueryRowContext(ctx, `SELECT count(*) FROM rejections`).Scan(&k.rejections),
	)
	if err != nil {
		return k, fmt.Errorf("read the store: %w", err)
	}
	return k, nil
}

// recorded returns the ids of events in the store.
func recorded(ctx context.Context, db *sql.DB) (map[string]bool, error) {
	ids := map[string]bool{}
	err := rows(ctx, db, `SELECT id FROM events`, func(r scanner) error {
		var id string
		err := r.Scan(&id)
		ids[id] = true
		return err
	})
	return ids, err
}

// owed counts the work that the store says is not done.
func owed(ctx context.Context, db *sql.DB) (events, media, notifications int, err error) {
	err = db.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM events WHERE processed_at IS NULL),
			(SELECT count(*) FROM media WHERE state = 'pending'),
			(SELECT count(*) FROM notifications WHERE state = 'pending')`).Scan(&events, &media, &notifications)
	return events, media, notifications, err
}
