package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// queryer reads rows: a database or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// scanner is a row.
type scanner interface {
	Scan(dest ...any) error
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q queryer, scan func(scanner) (T, error), query string, args ...any) (list []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// one reads the first row of a query; ErrNotFound if there is none.
func one[T any](ctx context.Context, q queryer, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	list, err := collect(ctx, q, scan, query, args...)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		var none T
		return none, err
	}
	return list[0], nil
}

// scanOne reads a row of one column.
func scanOne[T any](row scanner) (v T, err error) {
	err = row.Scan(&v)
	return v, err
}

// scanKey reads a row of a job's platform and id.
func scanKey(row scanner) (key tasks.JobKey, err error) {
	err = row.Scan(&key.Platform, &key.ID)
	return key, err
}

// batches yields the rows of a query that returns at most limit rows after a key. first is
// less than all keys.
func batches[T any](limit int, first []any, page func(after []any) ([]T, error), key func(T) []any) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		for after := first; ; {
			list, err := page(after)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(list) > 0 && !yield(list, nil) || len(list) < limit {
				return
			}
			after = key(list[len(list)-1])
		}
	}
}

// longAgo is before all times in the database.
var longAgo = time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)

// maxRows is how many rows one statement inserts. Both databases limit the number of
// arguments, SQLite to 32,766.
const maxRows = 500

// insertRows inserts rows of equal length and returns the rows of the RETURNING clause
// in rest.
func insertRows[T any](ctx context.Context, q queryer, d dialect, scan func(scanner) (T, error), insert string, rows [][]any, rest string) (returned []T, err error) {
	for chunk := range slices.Chunk(rows, maxRows) {
		list, err := collect(ctx, q, scan, insert+" VALUES "+d.tuples(len(chunk), len(chunk[0]))+" "+rest, slices.Concat(chunk...)...)
		if err != nil {
			return nil, err
		}
		returned = append(returned, list...)
	}
	return returned, nil
}

// unnumbered returns rows of placeholders for SQLite. Numbered ones make the insertion of a
// hundred jobs several times slower, because SQLite searches a list for each.
func unnumbered(rows, columns int) string {
	row := "(?" + strings.Repeat(", ?", columns-1) + ")"
	return row + strings.Repeat(", "+row, rows-1)
}

// tuples returns rows of numbered placeholders.
func tuples(rows, columns int) string {
	var b strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteString("($")
		case i%columns == 0:
			b.WriteString("), ($")
		default:
			b.WriteString(", $")
		}
		b.WriteString(strconv.Itoa(i + 1))
	}
	return b.String() + ")"
}

// where collects the conditions of a query and their arguments.
type where struct {
	conditions []string
	args       []any
}

// andIf adds a condition if add is true. Each ? in it is a placeholder for an argument.
func (w *where) andIf(add bool, condition string, args ...any) {
	if !add {
		return
	}
	for _, arg := range args {
		w.args = append(w.args, arg)
		condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	w.conditions = append(w.conditions, condition)
}

// andIn adds the condition that a column has one of values, which must not be empty.
func andIn[T any](w *where, column string, values []T) {
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	w.andIf(true, column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

// andJobs adds the condition that a row belongs to one of the jobs, which must not be
// empty. id is the column with the job's id.
func (w *where) andJobs(id string, keys []tasks.JobKey) {
	byPlatform := make(map[string][]any)
	for _, key := range keys {
		byPlatform[key.Platform] = append(byPlatform[key.Platform], key.ID)
	}
	var conditions []string
	var args []any
	for _, platform := range slices.Sorted(maps.Keys(byPlatform)) {
		ids := byPlatform[platform]
		conditions = append(conditions, "platform = ? AND "+id+" IN (?"+strings.Repeat(", ?", len(ids)-1)+")")
		args = append(append(args, platform), ids...)
	}
	w.andIf(true, "("+strings.Join(conditions, " OR ")+")", args...)
}

// limit returns the clause for at most n rows; 0 means no limit.
func (w *where) limit(n int) string {
	if n <= 0 {
		return ""
	}
	return " LIMIT " + strconv.Itoa(n)
}

// String returns the clause with all conditions.
func (w *where) String() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// wrap adds context to an error; nil stays nil.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// storable replaces invalid UTF-8 and removes NUL bytes: PostgreSQL stores neither.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "")
}

// encode returns a value as JSON.
func encode(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}

// asJSON scans JSON into the value that it points to.
type asJSON struct{ value any }

// Scan implements [database/sql.Scanner].
func (a asJSON) Scan(src any) error {
	text, ok := src.(string)
	if !ok {
		return fmt.Errorf("read JSON: unexpected %T", src)
	}
	return json.Unmarshal([]byte(text), a.value)
}

// sqliteLayout is RFC 3339 in UTC with a fixed width, so that text sorts as time.
const sqliteLayout = "2006-01-02T15:04:05.000000Z"

// sqliteTime binds an instant as text; SQLite has no type for it.
func sqliteTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(sqliteLayout)
}

// postgresTime binds an instant as a timestamptz, which keeps microseconds.
func postgresTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Truncate(time.Microsecond)
}

// instant scans a time from either database; NULL is the zero time.
type instant struct{ *time.Time }

// Scan implements [database/sql.Scanner].
func (i instant) Scan(src any) (err error) {
	switch v := src.(type) {
	case nil:
		*i.Time = time.Time{}
	case time.Time:
		*i.Time = v.UTC()
	case string:
		*i.Time, err = time.Parse(sqliteLayout, v)
	default:
		err = fmt.Errorf("read time: unexpected %T", src)
	}
	return err
}
