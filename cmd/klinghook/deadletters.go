package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/cmd/internal/terminal"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

func deadlettersCommand() *cobra.Command {
	return group("deadletters", "Look at what was given up, and replay it",
		deadlettersListCommand(), deadlettersShowCommand(), deadlettersReplayCommand(), deadlettersDiscardCommand())
}

// letterChoice is how a command's arguments and flags choose dead letters.
type letterChoice struct {
	filter        store.DeadLetterFilter
	kind          string
	since, before string
	all           bool
}

// flags adds the flags that choose.
func (c *letterChoice) flags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&c.filter.JobID, "job", "", "only those of this job's `id`")
	fs.StringVar(&c.kind, "kind", "", "only those of this `kind` of task: "+strings.Join(kinds(), ", "))
	fs.StringVar(&c.filter.Error, "error", "", "only those whose last error holds this `text`")
	fs.StringVar(&c.since, "since", "", "only those that failed at this `time` or later: RFC 3339, or how long ago, such as 90m")
	fs.StringVar(&c.before, "before", "", "only those that failed before this `time`, written likewise")
	completes(cmd, "kind", kinds()...)
}

// resolve reads the arguments, which are ids, and the flags.
func (c *letterChoice) resolve(ids []string, now time.Time) (err error) {
	for _, id := range ids {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || n < 1 {
			return cli.Usagef("%q is no dead letter's id; `klinghook deadletters list` shows them", id)
		}
		c.filter.IDs = append(c.filter.IDs, n)
	}
	if c.kind != "" {
		if err := oneOf("kind", c.kind, kinds()); err != nil {
			return err
		}
	}
	c.filter.Kind = tasks.Kind(c.kind)
	if c.filter.Since, err = timeOf("since", c.since, now); err != nil {
		return err
	}
	c.filter.Before, err = timeOf("before", c.before, now)
	return err
}

// chosen reports whether anything narrows the choice.
func (c *letterChoice) chosen() bool {
	f := c.filter
	return len(f.IDs) > 0 || f.JobID != "" || f.Kind != "" || f.Error != "" || !f.Since.IsZero() || !f.Before.IsZero()
}

// timeOf reads a time, or a duration before now; empty is no time.
func timeOf(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, cli.Usagef("--%s is %q; write a time such as 2026-01-31T12:00:00Z, or how long ago, such as 90m", flag, text)
	}
	return at, nil
}

func kinds() []string {
	var names []string
	for _, p := range tasks.Policies() {
		names = append(names, string(p.Kind))
	}
	return names
}

func deadlettersListCommand() *cobra.Command {
	var c letterChoice
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the oldest first",
		Long: `list lists the tasks that were given up, because they ran out of attempts, failed
for good or were archived by an operator, and that nobody has replayed or
discarded yet. One whose work was done after all, by a run from the queue pages or
because of another event, ends by itself and counts as done.

With --json it prints a list of objects with id, kind, task_id, job_id, event_id,
error, failed_at, state (dead, replayed, discarded, done) and ended_at. What is
not known is left out. Times are RFC 3339, UTC.`,
		Example: `  klinghook deadletters list --kind media:download --error 404
  klinghook deadletters list --since 24h --json | jq length`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(c.resolve(nil, time.Now()), checkLimit(c.filter.Limit)); err != nil {
				return err
			}
			return withStore(cmd, func(ctx context.Context, db *store.Store) error {
				c.filter.Outline = true
				letters, err := db.DeadLetters(ctx, c.filter)
				if err != nil {
					return err
				}
				return printLetters(cmd.OutOrStdout(), letters, asJSON)
			})
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.filter.Ended, "ended", false, "also those that were replayed, discarded or done")
	cmd.Flags().IntVar(&c.filter.Limit, "limit", 50, "list `n` at most; 0 is no limit")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	settings(cmd, config.Store)
	return cmd
}

func deadlettersShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show <id>",
		Short: "Show a dead letter with its payload and every attempt",
		Long: `show prints a dead letter with its task's payload and what each attempt failed of.

With --json it prints an object as those of "klinghook deadletters list --json",
with failures (attempt, at, error) and payload besides.`,
		Example: `  klinghook deadletters show 17`,
		Args:    oneArg("one dead letter's id"),
		RunE: func(cmd *cobra.Command, given []string) error {
			c := letterChoice{filter: store.DeadLetterFilter{Ended: true}}
			if err := c.resolve(given, time.Now()); err != nil {
				return err
			}
			return withStore(cmd, func(ctx context.Context, db *store.Store) error {
				letters, err := db.DeadLetters(ctx, c.filter)
				switch {
				case err != nil:
					return err
				case len(letters) == 0:
					return fmt.Errorf("dead letter %s: %w", given[0], store.ErrNotFound)
				case asJSON:
					return printJSON(cmd.OutOrStdout(), newLetterJSON(letters[0], true))
				}
				return printLetter(cmd.OutOrStdout(), letters[0])
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	settings(cmd, config.Store)
	return cmd
}

func deadlettersReplayCommand() *cobra.Command {
	return endCommand("replay", "Put dead letters back into the queue",
		`replay enqueues the tasks of dead letters afresh, with all their attempts. It may be
repeated, also while it runs elsewhere: what is in the queue already, or done, is
not done twice. The signature of an event is verified again, from the bytes that
were kept, so the secret that it was signed with must still be set.`,
		"replayed", (*worker.Replayer).Replay)
}

func deadlettersDiscardCommand() *cobra.Command {
	return endCommand("discard", "Let go of dead letters",
		`discard marks dead letters as seen and let go. What they were about stays undone;
they can still be seen with "klinghook deadletters list --ended".`,
		"discarded", (*worker.Replayer).Discard)
}

// endCommand is a command that does something to the chosen dead letters.
func endCommand(name, short, long, done string, do func(*worker.Replayer, context.Context, store.DeadLetter) error) *cobra.Command {
	var c letterChoice
	cmd := &cobra.Command{
		Use:   name + " [id]...",
		Short: short,
		Long: long + `

Choose by ids, or by flags that all have to hold, or everything with --all.`,
		Example: fmt.Sprintf(`  klinghook deadletters %[1]s 17 18
  klinghook deadletters %[1]s --kind notify:send --since 2h
  klinghook deadletters %[1]s --all`, name),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := c.resolve(given, time.Now()); err != nil {
				return err
			}
			if c.chosen() == c.all {
				return cli.Usagef("choose dead letters by id or by flags, or all of them with --all; `%s --help` tells how", cmd.CommandPath())
			}
			return withReplayer(cmd, func(ctx context.Context, r *worker.Replayer) error {
				return endLetters(ctx, terminal.New(os.Stdout, os.Stderr), r, c.filter, done, do)
			})
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.all, "all", false, "all that are dead")
	settings(cmd, config.Replay)
	return cmd
}

// endLetters does something to all dead letters of the filter, page by page. One
// that fails holds up no other.
func endLetters(ctx context.Context, screen *terminal.Screen, r *worker.Replayer, filter store.DeadLetterFilter, done string,
	do func(*worker.Replayer, context.Context, store.DeadLetter) error) error {
	filter.Limit, filter.Outline = 500, true
	total, err := r.Store.CountDeadLetters(ctx, filter)
	if err != nil {
		return err
	}
	bar := screen.Bar("dead letters "+done, countText)
	defer bar.End()
	var errs []error
	n, seen := 0, int64(0)
	for ctx.Err() == nil {
		page, err := r.Store.DeadLetters(ctx, filter)
		if err != nil {
			return err
		}
		for _, outline := range page {
			if ctx.Err() != nil {
				break
			}
			filter.After = outline.ID
			bar.Set(seen, total)
			seen++
			// Whole only now and one by one: a payload may be large, and by now somebody
			// else may have ended it.
			letters, err := r.Store.DeadLetters(ctx, store.DeadLetterFilter{IDs: []int64{outline.ID}})
			if err != nil {
				return err
			}
			for _, d := range letters {
				if err := do(r, ctx, d); err != nil {
					errs = append(errs, err)
					continue
				}
				n++
			}
		}
		if len(page) < filter.Limit {
			break
		}
	}
	bar.End()
	if _, err := fmt.Fprintf(screen.Out(), "%d dead letters %s\n", n, done); err != nil {
		return err
	}
	const shown = 10
	if len(errs) > shown {
		errs = append(errs[:shown], fmt.Errorf("and %d more", len(errs)-shown))
	}
	errs = append(errs, ctx.Err())
	if n == 0 && len(filter.IDs) > 0 {
		errs = append(errs, checkLetters(ctx, r.Store, filter.IDs))
	}
	return errors.Join(errs...)
}

// checkLetters reports that none of the ids is that of a dead letter, not even of
// one that has ended: ending one again is no error.
func checkLetters(ctx context.Context, db *store.Store, ids []int64) error {
	known, err := db.DeadLetters(ctx, store.DeadLetterFilter{IDs: ids, Ended: true, Outline: true, Limit: 1})
	if err == nil && len(known) == 0 {
		err = fmt.Errorf("no such dead letter: %w", store.ErrNotFound)
	}
	return err
}

// withReplayer runs f with the database and the Redis of the command's settings,
// or with those of the dev that runs on the same data folder.
func withReplayer(cmd *cobra.Command, f func(context.Context, *worker.Replayer) error) error {
	return withQueue(cmd, func(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, db *store.Store) error {
		var unread error
		sources, err := source.All(func(setting string) []string {
			secrets, _, err := openedSecrets(cfg, setting)
			unread = errors.Join(unread, err)
			return secrets
		})
		if err := errors.Join(unread, err); err != nil {
			return err
		}
		return f(ctx, &worker.Replayer{Redis: rdb, Store: db, EventShards: cfg.EventShards, Sources: sources, Now: time.Now})
	})
}

// withQueue runs f with the database and the Redis of the command's settings, or
// with those of the dev that runs on the same data folder.
func withQueue(cmd *cobra.Command, f func(context.Context, *config.Config, redis.UniversalClient, *store.Store) error) (err error) {
	cfg, err := load(config.Replay, cmd)
	if err != nil {
		return err
	}
	redisURL := cfg.RedisURL
	if here, devRuns := readDevAddresses(cmd.Context(), cfg.Data); devRuns && cfg.Origin("KLINGHOOK_REDIS_URL") == config.FromDefault {
		redisURL = here.Redis
	}
	rdb, err := process.NewRedis(redisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rdb.Close()) }()
	if err := pingRedis(cmd.Context(), cfg, rdb, "name the one that the workers use with KLINGHOOK_REDIS_URL (--redis-url)"); err != nil {
		return err
	}
	db, err := openStore(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return f(cmd.Context(), cfg, rdb, db)
}
