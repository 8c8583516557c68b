package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
)

// expiringJSON is a file as "jobs list --expiring --json" prints it. Names once
// printed stay.
type expiringJSON struct {
	JobID     string    `json:"job_id"`
	Name      string    `json:"name"`
	ExpiresAt time.Time `json:"expires_at"`
}

// listExpiring lists the files whose links die first, limit at most; 0 is no limit.
func listExpiring(cmd *cobra.Command, limit int, asJSON bool) error {
	cfg, err := load(config.Store, cmd)
	if err != nil {
		return err
	}
	return withStore(cmd, func(ctx context.Context, db *store.Store) error {
		list, err := db.ExpiringMedia(ctx, cfg.LinkLifetime, time.Now(), limit)
		if err != nil {
			return err
		}
		files := make([]expiringJSON, len(list))
		for i, m := range list {
			files[i] = expiringJSON{m.JobID, m.Name, m.LinkedAt.Add(cfg.LinkLifetime)}
		}
		return printExpiring(cmd.OutOrStdout(), files, asJSON)
	})
}

func printExpiring(w io.Writer, list []expiringJSON, asJSON bool) error {
	if asJSON {
		return printJSON(w, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no file waits whose link dies soon")
		return err
	}
	rows := make([][]string, len(list))
	for i, m := range list {
		rows[i] = []string{m.JobID, m.Name, clock(m.ExpiresAt)}
	}
	return printTable(w, []string{"JOB", "FILE", "LINK DIES"}, rows)
}
