package store

import (
	"fmt"
	"time"
)

// sqliteLayout is RFC 3339 in UTC with a fixed width, so that text sorts as time.
const sqliteLayout = "2006-01-02T15:04:05.000000Z"

// sqliteTime binds an instant as text; SQLite has no type for one.
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

// instant scans what either database returns for a time; NULL is the zero time.
type instant struct{ *time.Time }

// Scan implements [database/sql.Scanner].
func (i instant) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*i.Time = time.Time{}
	case time.Time:
		*i.Time = v.UTC()
	case string:
		t, err := time.Parse(sqliteLayout, v)
		if err != nil {
			return fmt.Errorf("read time: %w", err)
		}
		*i.Time = t
	default:
		return fmt.Errorf("read time: unexpected %T", src)
	}
	return nil
}
