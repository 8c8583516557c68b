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
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the "sqlite" driver
)

// ErrNotFound is matched when the row that was asked for does not exist.
var ErrNotFound = errors.New("not found")

// Store is a database. It is safe for concurrent use.
type Store struct {
	db      *sql.DB
	dialect dialect
}

// dialect is what differs between the two databases.
type dialect struct {
	goose      goose.Dialect
	migrations string
	// forUpdate locks the rows of a SELECT until the transaction ends. SQLite
	// needs no such thing: its writing transactions exclude each other whole. Keys
	// never change: PostgreSQL's lock lets others refer to the rows meanwhile, where
	// FOR UPDATE would have who holds a file wait for who holds its job.
	forUpdate string
	// forUpdateFree is forUpdate for those rows that no other transaction has locked, and
	// leaves the others out.
	forUpdateFree string
	// writers is how many transactions that write are worth having at once.
	writers int
	// andUnsynced, after the WHERE of a statement that is a transaction of its own, has
	// the commit not wait for the disk.
	andUnsynced string
	// time is how an instant is bound; a zero instant is NULL.
	time func(time.Time) any
}

func sqliteDialect() dialect {
	return dialect{goose: goose.DialectSQLite3, migrations: "migrations/sqlite", writers: 1, time: sqliteTime}
}

func postgresDialect() dialect {
	return dialect{
		goose: goose.DialectPostgres, migrations: "migrations/postgres", time: postgresTime,
		forUpdate: " FOR NO KEY UPDATE", forUpdateFree: " FOR NO KEY UPDATE SKIP LOCKED", writers: 2,
		andUnsynced: " AND set_config('synchronous_commit', 'off', TRUE) IS NOT NULL",
	}
}

// postgresConns bounds the connections of one process: more than what is usually
// written at once, as events share transactions, and few enough for many workers to
// share a server's usual 100.
const postgresConns = 24

// Create makes the file of a SQLite database, and its folder, where they are
// missing, and opens the database. A PostgreSQL database must exist.
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

// Open opens the database at "sqlite:<path>" or "postgres://…" and checks that
// it answers. Of a file of SQLite's its errors match [io/fs.ErrPermission], [ErrBusy] or
// [ErrNoDatabase] where that is why. It creates nothing, and the schema is not touched: see [Create],
// [Store.Migrate] and [Store.CheckSchema].
func Open(ctx context.Context, databaseURL string) (*Store, error) {
	var s *Store
	var err error
	path, isSQLite := sqlitePath(databaseURL)
	switch {
	case isSQLite:
		s, err = openSQLite(path)
	case strings.HasPrefix(databaseURL, "postgres://"), strings.HasPrefix(databaseURL, "postgresql://"):
		s, err = openPostgres(databaseURL)
	default:
		err = errors.New(`open database: the URL begins with neither "sqlite:" nor "postgres://"`)
	}
	if err != nil {
		return nil, err
	}
	if err := s.Ping(ctx); err != nil {
		err = errors.Join(err, s.Close())
		if isSQLite {
			err = explainSQLite(path, err)
		}
		return nil, err
	}
	return s, nil
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
		return nil, fmt.Errorf("open database: %w; `klinghook dev` or `klinghook migrate` makes it", err)
	}
	// synchronous=FULL: in WAL mode a lesser setting may lose the last commits
	// when the power goes. immediate: a transaction that will write takes its
	// lock at the start, where the busy timeout can wait for it.
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"},
	}.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	// One connection: writers queue up in Go, fairly, and not in SQLite's
	// sleeping retries.
	db.SetMaxOpenConns(1)
	return &Store{db: db, dialect: sqliteDialect()}, nil
}

func openPostgres(databaseURL string) (*Store, error) {
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(planAnew))
	db.SetMaxOpenConns(postgresConns)
	db.SetMaxIdleConns(postgresConns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return &Store{db: db, dialect: postgresDialect()}, nil
}

// planAnew has a connection plan its statements each time that they are run. A plan
// that was made for all times while a table was small reads the table from end to end,
// until statistics of it are gathered: too late, where a thousand rows come each second.
func planAnew(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SET plan_cache_mode = force_custom_plan`)
	return err
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.db.PingContext(ctx); err != nil {
		return fmt.Errorf("reach database: %w", err)
	}
	return nil
}

// Writers is how many transactions that write are worth having at once: one where
// they exclude each other, else as many as keep the database busy while another of
// them waits for the disk.
func (s *Store) Writers() int { return s.dialect.writers }

// Close closes the database's connections.
func (s *Store) Close() error {
	return s.db.Close()
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

// ignoreDone drops the complaint that a transaction is over already, as it is
// when its context ended.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}
