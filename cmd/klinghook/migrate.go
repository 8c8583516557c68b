package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create or update the database schema",
		Long: `migrate creates klinghook's tables or updates them to this version. Run it before the
first worker starts and after each upgrade. It creates a missing SQLite file, but a
PostgreSQL database must exist. It is safe to repeat, and to run several at once.

To move to PostgreSQL or to another server, use --copy-from. It updates the other
database to this version, and copies everything from it into this one, which must be
empty. Stop the workers first, and start them with the new database afterwards. If the
URL has a password, set KLINGHOOK_COPY_FROM or use --copy-from-file instead.`,
		Example: `  klinghook migrate
  klinghook migrate --copy-from sqlite:klinghook-data/klinghook.db
  klinghook migrate --database-url-file /run/secrets/database-url`,
		Args: cobra.NoArgs,
		RunE: runMigrate,
	}
	cli.AddFlags(cmd, config.Migrate)
	return cmd
}

func runMigrate(cmd *cobra.Command, _ []string) (err error) {
	ctx := cmd.Context()
	cfg, err := load(config.Migrate, cmd)
	if err != nil {
		return err
	}
	db, err := store.Create(ctx, cfg.DatabaseURL)
	if err != nil {
		return databaseError(cfg, err)
	}
	defer closeInto(&err, db.Close)
	applied, err := db.Migrate(ctx)
	if err != nil {
		return err
	}
	_, at, err := db.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is at version %d (migrations applied: %d)\n", cfg.Value("KLINGHOOK_DATABASE_URL"), at, len(applied)); err != nil {
		return err
	}
	if cfg.CopyFrom == "" {
		return nil
	}
	return copyFrom(cmd, db, cfg.CopyFrom)
}

// copyFrom migrates another database and copies it into db.
func copyFrom(cmd *cobra.Command, db *store.Store, from string) (err error) {
	ctx := cmd.Context()
	source, err := store.Open(ctx, from)
	if err != nil {
		return fmt.Errorf("KLINGHOOK_COPY_FROM (--copy-from): %w", err)
	}
	defer closeInto(&err, source.Close)
	if _, err := source.Migrate(ctx); err != nil {
		return fmt.Errorf("KLINGHOOK_COPY_FROM (--copy-from): %w", err)
	}
	bar := newConsole(os.Stdout, os.Stderr).Bar("rows copied", countText)
	rows, err := db.Copy(ctx, source, bar.Set)
	bar.End()
	if errors.Is(err, store.ErrNotEmpty) {
		return fmt.Errorf("%w; set KLINGHOOK_DATABASE_URL (--database-url) to an empty one", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "copied %d rows; now start the workers with this database\n", rows)
	return err
}
