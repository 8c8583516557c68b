package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
)

// ErrNotEmpty reports that the database to copy into has rows.
var ErrNotEmpty = errors.New("the database is not empty")

// tables returns all tables of the schema, referenced ones first. A test compares it
// with the schema.
func tables() []string {
	return []string{"events", "jobs", "job_tags", "job_search", "media", "notifications", "destinations", "destination_attempts", "task_attempts", "dead_letters", "rejections", "lookup_requests", "lookups", "erasures", "doomed_objects"}
}

// Copy copies all rows of another database, of either kind, and returns their number.
// Both must have this build's schema and no other users. s must be empty, else the error
// matches [ErrNotEmpty]; if Copy fails, s stays empty. progress, if not nil, is called
// after each row.
func (s *Store) Copy(ctx context.Context, from *Store, progress func(done, total int64)) (rows int64, err error) {
	for _, db := range []*Store{s, from} {
		if err := db.CheckSchema(ctx); err != nil {
			return 0, err
		}
	}
	err = from.inTx(ctx, func(source *sql.Tx) error {
		total, err := countRows(ctx, source)
		if err != nil {
			return err
		}
		copied := func() {
			if rows++; progress != nil {
				progress(rows, total)
			}
		}
		return s.inTx(ctx, func(target *sql.Tx) error {
			for _, table := range tables() {
				if err := s.copyTable(ctx, table, source, target, copied); err != nil {
					return fmt.Errorf("copy %s: %w", table, err)
				}
			}
			return s.dialect.afterCopy(ctx, target)
		})
	})
	if err != nil {
		return 0, err
	}
	return rows, nil
}

// countRows counts the rows of all tables.
func countRows(ctx context.Context, source *sql.Tx) (total int64, err error) {
	for _, table := range tables() {
		var n int64
		if err := source.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil {
			return 0, fmt.Errorf("count rows of %s: %w", table, err)
		}
		total += n
	}
	return total, nil
}

// copyTable copies a table's rows by column name and calls copied after each.
func (s *Store) copyTable(ctx context.Context, table string, source, target *sql.Tx, copied func()) (err error) {
	types, err := columnTypes(ctx, target, table)
	if err != nil {
		return err
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.Name()
	}
	insert, err := target.PrepareContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) VALUES %s", table, strings.Join(names, ", "), tuples(1, len(names))))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, insert.Close()) }()
	rows, err := source.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s", strings.Join(names, ", "), table))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values, pointers := make([]any, len(types)), make([]any, len(types))
	for i := range values {
		pointers[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(pointers...); err != nil {
			return err
		}
		for i := range values {
			values[i] = s.dialect.converted(values[i], types[i].DatabaseTypeName())
		}
		if _, err := insert.ExecContext(ctx, values...); err != nil {
			return err
		}
		copied()
	}
	return rows.Err()
}

// columnTypes returns a table's columns, or [ErrNotEmpty] if it has a row.
func columnTypes(ctx context.Context, tx *sql.Tx, table string) (types []*sql.ColumnType, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 1")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if types, err = rows.ColumnTypes(); err != nil {
		return nil, err
	}
	if rows.Next() {
		return nil, ErrNotEmpty
	}
	return types, rows.Err()
}

// converted converts a value of the other database for a column of this one. SQLite has
// neither booleans nor times.
func (d dialect) converted(value any, column string) any {
	switch v := value.(type) {
	case time.Time:
		return d.time(v)
	case int64:
		if column == "BOOL" {
			return v != 0
		}
	}
	return value
}

// afterCopy makes the ids of new dead letters start after the copied ones; SQLite does
// so by itself.
func (d dialect) afterCopy(ctx context.Context, tx *sql.Tx) error {
	if d.goose != goose.DialectPostgres {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SELECT setval(pg_get_serial_sequence('dead_letters', 'id'), max(id)) FROM dead_letters HAVING max(id) IS NOT NULL")
	return wrap(err, "set the next id of dead letters")
}
