package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the "sqlite" driver
)

// ErrNotFound reports that a row does not exist.
var ErrNotFound = errors.New("not found")

// Store is a database. It is safe for concurrent use.
type Store struct {
	db *sql.DB
	// reads is db or, for SQLite, separate connections for lists, so that lists and writers
	// do not wait for each other.
	reads   *sql.DB
	dialect dialect
	pool    *postgresPool // nil for SQLite
}

// dialect contains the differences between the two databases.
type dialect struct {
	goose      goose.Dialect
	migrations string
	// forUpdate locks the rows of a SELECT until the transaction ends. SQLite needs no
	// such lock: its writing transactions exclude each other.
	forUpdate string
	// claim locks the rows of a SELECT that no other transaction has locked, and skips
	// the others.
	claim string
	// writers is how many writing transactions are worth running at once.
	writers int
	// time returns an instant as a query argument; the zero time is NULL.
	time func(time.Time) any
	// tuples returns rows of placeholders.
	tuples func(rows, columns int) string
	// counted counts the numbers that [dialect.newSeq] returned, from a random start.
	counted *atomic.Int64
	search
}

func sqliteDialect() dialect {
	return dialect{goose: goose.DialectSQLite3, migrations: "migrations/sqlite", writers: 1, time: sqliteTime, tuples: unnumbered, counted: randomCounter(), search: sqliteSearch()}
}

func postgresDialect() dialect {
	return dialect{
		goose: goose.DialectPostgres, migrations: "migrations/postgres", writers: 2, time: postgresTime, tuples: tuples, counted: randomCounter(), search: postgresSearch(),
		// Keys never change, so rows that refer to a locked one may still be inserted.
		forUpdate: " FOR NO KEY UPDATE",
		claim:     " FOR UPDATE SKIP LOCKED",
	}
}

// Create creates the file of a SQLite database and its folder if they are missing, and
// opens the database. A PostgreSQL database must exist.
func Create(ctx context.Context, databaseURL string) (*Store, error) {
	if path, ok := sqlitePath(databaseURL); ok && path != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("create database: %w", err)
		}
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("create database: %w", err)
		}
		if err := file.Close(); err != nil {
			return nil, fmt.Errorf("create database: %w", err)
		}
	}
	return Open(ctx, databaseURL)
}

// Open opens the database at "sqlite:<path>" or "postgres://…" and checks that it
// answers. For SQLite its errors match [io/fs.ErrPermission], [ErrBusy] or
// [ErrNoDatabase] if that is the cause. It does not touch the schema: see
// [Store.Migrate] and [Store.CheckSchema].
func Open(ctx context.Context, databaseURL string) (*Store, error) {
	s, err := Prepare(ctx, databaseURL)
	if err != nil || s.pool == nil {
		return s, err
	}
	if err := s.Ping(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Prepare is like Open but does not connect to PostgreSQL yet. It is for a process that
// waits for its database.
func Prepare(ctx context.Context, databaseURL string) (*Store, error) {
	path, isSQLite := sqlitePath(databaseURL)
	switch {
	case isSQLite:
		s, err := openSQLite(path)
		if err != nil {
			return nil, err
		}
		if err := s.Ping(ctx); err != nil {
			return nil, explainSQLite(path, errors.Join(err, s.Close()))
		}
		return s, nil
	case strings.HasPrefix(databaseURL, "postgres://"), strings.HasPrefix(databaseURL, "postgresql://"):
		return openPostgres(databaseURL)
	}
	return nil, errors.New(`open database: the URL begins with neither "sqlite:" nor "postgres://"`)
}

// sqlitePath returns the path of a "sqlite:<path>" URL.
func sqlitePath(databaseURL string) (path string, ok bool) {
	path, ok = strings.CutPrefix(databaseURL, "sqlite:")
	return strings.TrimPrefix(path, "//"), ok
}

func openSQLite(path string) (*Store, error) {
	if path == "" {
		return nil, errors.New("open database: write sqlite:<path>, for instance sqlite:klinghook-data/klinghook.db")
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open database: %w; `klinghook dev` or `klinghook migrate` creates it", err)
	}
	// synchronous=FULL: in WAL mode a lesser setting may lose the last commits in a
	// power cut. immediate: a transaction takes its lock at the start, where the busy
	// timeout can wait for it.
	open := func(pragmas ...string) (*sql.DB, error) {
		dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
			"_txlock": {"immediate"},
			"_pragma": append([]string{"busy_timeout(10000)"}, pragmas...),
		}.Encode()}).String()
		return sql.Open("sqlite", dsn)
	}
	db, err := open("journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)")
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	reads, err := open("query_only(1)")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), db.Close())
	}
	reads.SetMaxOpenConns(2)
	// One connection: writers queue up fairly in Go instead of in SQLite's sleeping
	// retries.
	db.SetMaxOpenConns(1)
	return &Store{db: db, reads: reads, dialect: sqliteDialect()}, nil
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.db.PingContext(ctx); err != nil {
		return unreachable(err)
	}
	return nil
}

// CheckWritable reports whether the database answers and, if it is PostgreSQL, accepts
// writes. It drops the connections to a read-only server.
func (s *Store) CheckWritable(ctx context.Context) error {
	if s.pool == nil {
		return s.Ping(ctx)
	}
	var readOnly bool
	if err := s.db.QueryRowContext(ctx, `SELECT current_setting('transaction_read_only')::boolean`).Scan(&readOnly); err != nil {
		return unreachable(err)
	}
	if readOnly {
		s.pool.generation.Add(1)
		return ErrReadOnly
	}
	return nil
}

// Writers returns how many writing transactions are worth running at once: one if they
// exclude each other, else enough to keep the database busy while one waits for the disk.
func (s *Store) Writers() int { return s.dialect.writers }

// Close closes the database's connections.
func (s *Store) Close() error {
	if s.reads == s.db {
		return s.db.Close()
	}
	return errors.Join(s.reads.Close(), s.db.Close())
}

// inTx runs f in a transaction that commits when f returns nil.
func (s *Store) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := f(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// ignoreDone ignores [sql.ErrTxDone]: a transaction also ends when its context does.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}
