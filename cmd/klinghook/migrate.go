package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/terminal"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
)

func migrateCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to this version",
		Long: `migrate makes the tables that klinghook needs, or changes them to what this
version needs: run it once before the first worker, and after each upgrade. A
SQLite file is made where it is missing; a PostgreSQL database must exist. It may
be run again, and by several processes at once.

With --copy-from it then fills the database, which must be empty, with all that
another one holds, to move from SQLite to PostgreSQL or to another server. Stop
the workers before, and start them with the new database.`,
		Example: `  klinghook migrate
  klinghook migrate --copy-from sqlite:klinghook-data/klinghook.db
  klinghook migrate --database-url-file /run/secrets/database-url`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runMigrate(cmd, from) },
	}
	cmd.Flags().StringVar(&from, "copy-from", "", "fill the empty database from the one at this `URL`")
	settings(cmd, config.Store)
	return cmd
}

func runMigrate(cmd *cobra.Command, from string) (err error) {
	cfg, err := load(config.Store, cmd)
	if err != nil {
		return err
	}
	db, err := store.Create(cmd.Context(), cfg.DatabaseURL)
	if err != nil {
		return databaseError(cfg, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	applied, err := db.Migrate(cmd.Context())
	if err != nil {
		return err
	}
	_, at, err := db.SchemaVersion(cmd.Context())
	if err != nil {
		return err
	}
	note := "nothing to do"
	switch len(applied) {
	case 0:
	case 1:
		note = "1 migration applied"
	default:
		note = fmt.Sprintf("%d migrations applied", len(applied))
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is at version %d (%s)\n", cfg.Value("KLINGHOOK_DATABASE_URL"), at, note); err != nil {
		return err
	}
	if from == "" {
		return nil
	}
	return copyFrom(cmd, db, from)
}

// copyFrom fills the database from another one, which it first brings up to this
// version's schema.
func copyFrom(cmd *cobra.Command, db *store.Store, from string) (err error) {
	ctx := cmd.Context()
	source, err := store.Open(ctx, from)
	if err != nil {
		return fmt.Errorf("--copy-from: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if _, err := source.Migrate(ctx); err != nil {
		return fmt.Errorf("--copy-from: %w", err)
	}
	bar := terminal.New(os.Stdout, os.Stderr).Bar("rows copied", countText)
	rows, err := db.Copy(ctx, source, bar.Set)
	bar.End()
	if errors.Is(err, store.ErrNotEmpty) {
		return fmt.Errorf("%w: it would be mixed up with what is to be copied; name an empty one with KLINGHOOK_DATABASE_URL (--database-url)", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "copied %d rows; start the workers with this database now\n", rows)
	return err
}
