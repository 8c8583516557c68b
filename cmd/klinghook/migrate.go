package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/store"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to this version",
		Long: `migrate makes the tables that klinghook needs, or changes them to what this
version needs: run it once before the first worker, and after each upgrade. A
SQLite file is made where it is missing; a PostgreSQL database must exist. It may
be run again, and by several processes at once.`,
		Example: `  klinghook migrate
  klinghook migrate --database-url-file /run/secrets/database-url`,
		Args: noArgs,
		RunE: runMigrate,
	}
	settings(cmd, config.Store)
	return cmd
}

func runMigrate(cmd *cobra.Command, _ []string) (err error) {
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
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is at version %d (%s)\n", cfg.Value("KLINGHOOK_DATABASE_URL"), at, note)
	return err
}
