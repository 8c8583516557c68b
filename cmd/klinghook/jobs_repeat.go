package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

func jobsNotifyCommand() *cobra.Command {
	var destinations []string
	return repeatCommand(repetition{
		name:  "notify",
		short: "Send notifications of jobs again",
		long: `notify sends notifications of the current state of jobs again. Without --destination, it
notifies the destinations that were notified of that state before.

A repeated notification has a new webhook-id, because receivers drop known ones. A
pending notification is not repeated. Filters and pauses still apply: a paused
destination gets the notification later.`,
		examples: []string{"notify vid_abc123", "notify --status failed --since 24h --destination shop"},
		what:     "notifications enqueued",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringSliceVar(&destinations, "destination", nil, "only the destination with this `name`, even if it was not notified before; may be repeated")
		},
		check: func(ctx context.Context, db *store.Store) error {
			for _, name := range destinations {
				if _, err := db.Destination(ctx, name); err != nil {
					return unknownDestination(name, err)
				}
			}
			return nil
		},
		run: func(ctx context.Context, r *worker.Replayer, job tasks.JobKey) (int, error) {
			return r.Notify(ctx, job, destinations)
		},
		nothing: "no destination was notified of this state, or its notification is still pending; name one with --destination",
	})
}

func jobsDownloadCommand() *cobra.Command {
	var file string
	return repeatCommand(repetition{
		name:  "download",
		short: "Download files of jobs again",
		long: `download downloads the files of jobs again, from their newest links. If a link is dead, a
worker with credentials asks Kling for a fresh one. The file in the bucket stays until
the new one is complete, and remains if no link works.`,
		examples: []string{"download vid_abc123", "download --file video --since 24h"},
		what:     "downloads enqueued",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&file, "file", "", "only the file with this `name`, such as video or thumbnail")
		},
		run: func(ctx context.Context, r *worker.Replayer, job tasks.JobKey) (int, error) {
			return r.Download(ctx, job, file)
		},
		nothing: "it has no such file; `klinghook jobs show` shows its files, and `klinghook jobs refresh` asks Kling for them",
	})
}

// repetition is work that a command repeats for each of the selected jobs.
type repetition struct {
	name, short, long string
	examples          []string
	what              string // follows the count in the result
	flags             func(*cobra.Command)
	// check, if set, checks the command's own flags.
	check func(context.Context, *store.Store) error
	// run repeats the work of a job and returns the number of repeated tasks.
	run     func(context.Context, *worker.Replayer, tasks.JobKey) (int, error)
	nothing string // why a job that was named has nothing to repeat
}

// jobChoice selects jobs by a command's arguments and flags.
type jobChoice struct {
	filter                store.JobFilter
	status, since, before string
	all, dryRun           bool
}

func (c *jobChoice) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	platformFlag(cmd, &c.filter.Platform)
	flags.StringVar(&c.status, "status", "", "only jobs with this `status`: "+strings.Join(statuses(), ", "))
	flags.StringVar(&c.since, "since", "", "only jobs updated at or after this `time`: RFC 3339, or a duration ago, such as 90m")
	flags.StringVar(&c.before, "before", "", "only jobs last updated before this `time`")
	flags.BoolVar(&c.all, "all", false, "all jobs")
	flags.BoolVar(&c.dryRun, "dry-run", false, "only count the selected jobs")
}

// resolve reads ids and flags into the filter.
func (c *jobChoice) resolve(ids []string, now time.Time) (err error) {
	if c.status != "" {
		if err := oneOf("status", c.status, statuses()); err != nil {
			return err
		}
	}
	c.filter.IDs, c.filter.Status = ids, tasks.Status(c.status)
	if c.filter.Since, err = timeOf("since", c.since, now); err != nil {
		return err
	}
	if c.filter.Before, err = timeOf("before", c.before, now); err != nil {
		return err
	}
	selects := len(ids) > 0 || c.status != "" || c.since != "" || c.before != ""
	if selects == c.all {
		return cli.Usagef("select jobs by id or by --status, --since and --before, or all of them with --all")
	}
	return nil
}

func repeatCommand(rep repetition) *cobra.Command {
	var choice jobChoice
	cmd := &cobra.Command{
		Use:   rep.name + " [job-id]...",
		Short: rep.short,
		Long: rep.long + "\n\nSelect jobs by id, by --status, --since and --before, which must all match, or all with\n" +
			"--all. --dry-run only counts them.",
		Example: "  klinghook jobs " + strings.Join(rep.examples, "\n  klinghook jobs "),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := choice.resolve(ids, time.Now()); err != nil {
				return err
			}
			return withQueue(cmd, func(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, db *store.Store) error {
				replayer := &worker.Replayer{Redis: rdb, Store: db, EventShards: cfg.EventShards, Now: time.Now}
				return rep.do(ctx, newConsole(os.Stdout, os.Stderr), replayer, choice)
			})
		},
	}
	rep.flags(cmd)
	choice.addFlags(cmd)
	cli.AddFlags(cmd, config.Replay)
	return cmd
}

// do repeats the work of the selected jobs. A failure does not stop the others.
func (rep repetition) do(ctx context.Context, screen *console, replayer *worker.Replayer, choice jobChoice) error {
	if rep.check != nil {
		if err := rep.check(ctx, replayer.Store); err != nil {
			return err
		}
	}
	jobs, err := replayer.Store.JobKeys(ctx, choice.filter)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range choice.filter.IDs {
		if !slices.ContainsFunc(jobs, func(key tasks.JobKey) bool { return key.ID == id }) {
			errs = append(errs, fmt.Errorf("job %q: %w, or the flags do not select it", id, store.ErrNotFound))
		}
	}
	if choice.dryRun {
		_, err := fmt.Fprintf(screen.Out(), "%d jobs selected\n", len(jobs))
		return errors.Join(append(errs, err)...)
	}
	bar := screen.Bar("jobs", countText)
	defer bar.End()
	total := 0
	for i, job := range jobs {
		if ctx.Err() != nil {
			break
		}
		bar.Set(int64(i), int64(len(jobs)))
		n, err := rep.run(ctx, replayer, job)
		total += n
		if err == nil && n == 0 && len(choice.filter.IDs) > 0 {
			err = fmt.Errorf("job %q: nothing to repeat: %s", job, rep.nothing)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	bar.End()
	if _, err := fmt.Fprintf(screen.Out(), "%d %s\n", total, rep.what); err != nil {
		return err
	}
	return errors.Join(append(shorten(errs), ctx.Err())...)
}

// shorten keeps the first errors of a long list.
func shorten(errs []error) []error {
	const shown = 10
	if len(errs) > shown {
		return append(errs[:shown:shown], fmt.Errorf("and %d more", len(errs)-shown))
	}
	return errs
}
