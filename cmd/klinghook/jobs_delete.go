package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

func jobsDeleteCommand() *cobra.Command {
	var yes bool
	var platform string
	cmd := &cobra.Command{
		Use:   "delete <id>...",
		Short: "Delete jobs with everything that belongs to them",
		Long: `delete deletes jobs completely: their rows, events, notifications and dead letters, their
files in the bucket, and their tasks in the queue. It cannot be undone. Messages that
were sent are not recalled.

klinghook keeps the id of each job and drops later events and answers of Kling about it.
Workers finish an interrupted deletion. After two minutes and after an hour, they delete
anything that running tasks may have written meanwhile.

delete asks for confirmation on a terminal; elsewhere it needs --yes. Give it the
settings of a worker, including the bucket.`,
		Example: `  klinghook jobs delete vid_abc123
  klinghook jobs delete --yes vid_abc123 vid_abc124`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if !yes {
				if err := confirm(cmd, fmt.Sprintf("Delete %d jobs with all their files and events? This cannot be undone.", len(ids))); err != nil {
					return err
				}
			}
			return withQueue(cmd, func(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, db *store.Store) (err error) {
				bucket, err := openBucket(ctx, cfg)
				if err != nil {
					return err
				}
				defer closeInto(&err, bucket.Close)
				eraser := &worker.Eraser{Redis: rdb, Store: db, Bucket: bucket, EventShards: cfg.EventShards, Now: time.Now}
				var errs []error
				for _, id := range ids {
					errs = append(errs, deleteJob(ctx, cmd, eraser, tasks.JobKey{Platform: platform, ID: id}))
				}
				return errors.Join(errs...)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	platformFlag(cmd, &platform)
	cli.AddFlags(cmd, config.Replay)
	return cmd
}

// deleteJob deletes a job and prints how much was deleted.
func deleteJob(ctx context.Context, cmd *cobra.Command, eraser *worker.Eraser, job tasks.JobKey) error {
	found, err := eraser.Store.HasTraces(ctx, job)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("job %q: %w", job.ID, store.ErrNotFound)
	}
	n, err := eraser.Erase(ctx, job)
	if err != nil {
		return fmt.Errorf("%w; a worker deletes the rest within a minute, or repeat the command", err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  deleted: %d events, %d notifications, %d dead letters, %d files, %d tasks\n",
		oneLine(job.ID), n.Events, n.Notifications, n.DeadLetters, n.Objects, n.Tasks)
	return err
}

// confirm asks for confirmation on the terminal. It fails without a terminal or a yes.
func confirm(cmd *cobra.Command, question string) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return cli.Usagef("this cannot be undone: confirm it with --yes")
	}
	cmd.PrintErrf("%s [y/N] ", question)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && answer == "" {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("not confirmed; nothing was deleted")
	}
	return nil
}
