package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// ErrSchema reports that the database's schema is older or newer than this build's.
var ErrSchema = errors.New("wrong database schema")

// versionTable is not goose's default: other programs in the same database may use goose.
const versionTable = "klinghook_schema_version"

// Migrate upgrades the schema to this build's version and returns the versions that it
// applied, oldest first. Processes that migrate the same PostgreSQL database wait for
// each other.
func (s *Store) Migrate(ctx context.Context) ([]int64, error) {
	provider, err := s.migrator()
	if err != nil {
		return nil, err
	}
	unlock, err := s.lockMigrations(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock migrations: %w", err)
	}
	defer unlock()
	results, err := provider.Up(ctx)
	if err != nil && strings.Contains(err.Error(), "already exists") {
		return nil, fmt.Errorf("migrate database: %w; another program uses this database: create one for klinghook alone", err)
	}
	if err != nil && strings.Contains(err.Error(), "pg_trgm") {
		return nil, fmt.Errorf("migrate database: %w; search needs this extension: install PostgreSQL's contrib modules and run `CREATE EXTENSION pg_trgm` in this database as its owner or a superuser", err)
	}
	if err != nil {
		return nil, fmt.Errorf("migrate database: %w", err)
	}
	var applied []int64
	for _, r := range results {
		applied = append(applied, r.Source.Version)
	}
	return applied, nil
}

// CheckSchema returns an error that matches ErrSchema, and says what to do, if the
// schema is older or newer than this build's.
func (s *Store) CheckSchema(ctx context.Context) error {
	current, want, err := s.SchemaVersion(ctx)
	switch {
	case err != nil:
		return err
	case current < want:
		return fmt.Errorf("%w: it is at version %d and this build needs %d; run `klinghook migrate`", ErrSchema, current, want)
	case current > want:
		return fmt.Errorf("%w: it is at version %d and this build knows only %d; run the newer klinghook that migrated it", ErrSchema, current, want)
	}
	return nil
}

// SchemaVersion returns the version of the database, 0 if it is empty, and the version
// that this build needs.
func (s *Store) SchemaVersion(ctx context.Context) (current, want int64, err error) {
	provider, err := s.migrator()
	if err != nil {
		return 0, 0, err
	}
	sources := provider.ListSources()
	want = sources[len(sources)-1].Version
	if current, err = provider.GetDBVersion(ctx); err != nil {
		return 0, 0, fmt.Errorf("read schema version: %w", err)
	}
	return current, want, nil
}

func (s *Store) migrator() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, s.dialect.migrations)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	provider, err := goose.NewProvider(s.dialect.goose, s.db, files, goose.WithTableName(versionTable))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return provider, nil
}

// lockMigrations waits until no other process migrates a PostgreSQL database. The lock
// belongs to a transaction, because behind PgBouncer a session may have many connections.
func (s *Store) lockMigrations(ctx context.Context) (unlock func(), err error) {
	if s.pool == nil {
		return func() {}, nil
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0`)
	if err == nil {
		_, err = tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, lock.DefaultLockID)
	}
	unlock = func() { _ = tx.Rollback() } // it changed nothing
	if err != nil {
		unlock()
	}
	return unlock, err
}
