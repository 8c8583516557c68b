package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/worker"
)

func pruneCommand() *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete finished work that is older than its retention",
		Long: `prune deletes events, jobs and files that are older than KLINGHOOK_RETAIN_EVENTS,
KLINGHOOK_RETAIN_JOBS and KLINGHOOK_RETAIN_MEDIA, and prints how many. It keeps
unfinished work. Workers do the same once an hour. It can run beside them, be
interrupted, and be repeated.

--json prints an object with dry_run, events, jobs, files, bytes, dead_letters (those
that had ended) and rejections (samples of refused deliveries).`,
		Example: `  klinghook prune --dry-run
  klinghook prune --retain-events 30d --retain-media 365d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			cfg, err := load(config.Prune, cmd)
			if err != nil {
				return err
			}
			db, err := openStore(ctx, cfg)
			if err != nil {
				return err
			}
			defer closeInto(&err, db.Close)
			bucket, err := openBucket(ctx, cfg)
			if err != nil {
				return err
			}
			defer closeInto(&err, bucket.Close)
			if keepsJobsWithFiles(cfg) {
				cmd.PrintErrln(jobsWithFilesAreKept)
			}
			pruner := worker.Pruner{Store: db, Bucket: bucket, Retention: retention(cfg), DryRun: dryRun, Now: time.Now}
			pruned, err := pruner.Prune(ctx)
			return errors.Join(err, printPruned(cmd.OutOrStdout(), pruned, dryRun, asJSON)) // it may have deleted some
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print how much would be deleted, and delete nothing")
	jsonFlag(cmd, &asJSON)
	cli.AddFlags(cmd, config.Prune)
	return cmd
}

// prunedJSON is what prune deleted, as --json prints it.
type prunedJSON struct {
	DryRun bool `json:"dry_run"`
	store.Pruned
}

func printPruned(w io.Writer, pruned store.Pruned, dryRun, asJSON bool) error {
	if asJSON {
		return printJSON(w, prunedJSON{dryRun, pruned})
	}
	done := "deleted"
	if dryRun {
		done = "would delete"
	}
	_, err := fmt.Fprintf(w, "%s %d events, %d jobs, %d files (%s), %d ended dead letters, %d samples of refused deliveries\n",
		done, pruned.Events, pruned.Jobs, pruned.Files, bytesText(pruned.Bytes), pruned.DeadLetters, pruned.Rejections)
	return err
}

const jobsWithFilesAreKept = "KLINGHOOK_RETAIN_JOBS keeps jobs with stored files, because KLINGHOOK_RETAIN_MEDIA is keep; set that too"

// keepsJobsWithFiles reports whether old jobs are deleted except those with files.
func keepsJobsWithFiles(cfg *config.Config) bool { return cfg.RetainJobs > 0 && cfg.RetainMedia == 0 }

// retention returns the retention of the settings.
func retention(cfg *config.Config) store.Retention {
	return store.Retention{Events: time.Duration(cfg.RetainEvents), Jobs: time.Duration(cfg.RetainJobs), Media: time.Duration(cfg.RetainMedia)}
}
