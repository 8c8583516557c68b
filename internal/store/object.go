package store

import (
	"context"
	"database/sql"
	"time"
)

// A transaction that removes an object's name from a row dooms the object: it inserts a row
// into doomed_objects. Afterwards the object is deleted, then that row. If the process dies
// in between, another one continues, so no object is left without a row.

// doom inserts rows for objects that are to be deleted from the bucket.
func doom(ctx context.Context, tx *sql.Tx, d dialect, objects []string, at time.Time) error {
	rows := make([][]any, len(objects))
	for i, object := range objects {
		rows[i] = []any{object, d.time(at)}
	}
	_, err := insertRows(ctx, tx, d, scanOne[string], `INSERT INTO doomed_objects (object, retry_at)`, rows, `ON CONFLICT (object) DO NOTHING RETURNING object`)
	return wrap(err, "doom objects")
}

// notDoomed returns errDoomed for an object that is to be deleted.
func notDoomed(ctx context.Context, q queryer, object string) error {
	doomed, err := one(ctx, q, scanOne[bool], `SELECT EXISTS (SELECT 1 FROM doomed_objects WHERE object = $1)`, object)
	if err == nil && doomed {
		err = errDoomed
	}
	return err
}

const dueObjects = `SELECT object FROM doomed_objects WHERE retry_at <= $1 ORDER BY retry_at, object LIMIT $2`

// DoomedObjects returns at most limit objects to delete from the bucket. No other call
// returns them until the given time, which must leave the caller enough time.
func (s *Store) DoomedObjects(ctx context.Context, now, until time.Time, limit int) ([]string, error) {
	list, err := collect(ctx, s.db, scanOne[string], `
		UPDATE doomed_objects SET retry_at = $3 WHERE object IN (`+dueObjects+s.dialect.claim+`) RETURNING object`,
		s.dialect.time(now), limit, s.dialect.time(until))
	return list, wrap(err, "list doomed objects")
}

// ObjectsDeleted records that doomed objects are gone from the bucket.
func (s *Store) ObjectsDeleted(ctx context.Context, objects []string) error {
	if len(objects) == 0 {
		return nil
	}
	var conditions where
	andIn(&conditions, "object", objects)
	_, err := s.db.ExecContext(ctx, `DELETE FROM doomed_objects`+conditions.String(), conditions.args...)
	return wrap(err, "record deleted objects")
}
