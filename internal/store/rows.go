package store

import (
	"context"
	"slices"
	"strconv"
)

// maxRows is how many rows one statement writes: both databases bound the number of
// its arguments, SQLite to 32,766.
const maxRows = 500

// insertRows writes rows that all have the same columns, those that insert names, and
// reads what rest, which follows them in the statement, has returned.
func insertRows[T any](ctx context.Context, q queryer, scan func(scanner) (T, error), insert string, rows [][]any, rest string) ([]T, error) {
	var list []T
	for chunk := range slices.Chunk(rows, maxRows) {
		returned, err := collect(ctx, q, scan, insert+" VALUES "+tuples(len(chunk), len(chunk[0]))+" "+rest, slices.Concat(chunk...)...)
		if err != nil {
			return nil, err
		}
		list = append(list, returned...)
	}
	return list, nil
}

// tuples is so many rows of placeholders.
func tuples(rows, columns int) string {
	b := make([]byte, 0, rows*columns*6)
	for i := range rows * columns {
		switch {
		case i == 0:
			b = append(b, '(')
		case i%columns == 0:
			b = append(b, "), ("...)
		default:
			b = append(b, ", "...)
		}
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(i+1), 10)
	}
	return string(append(b, ')'))
}
