package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/worker"
)

// endFunc replays or discards a dead letter.
type endFunc func(*worker.Replayer, context.Context, int64) (ended bool, err error)

// endCommand returns a command that ends dead letters.
func endCommand(name, short, long, done string, end endFunc) *cobra.Command {
	var choice letterChoice
	cmd := &cobra.Command{
		Use:   name + " [id]...",
		Short: short,
		Long:  long + "\n\nSelect dead letters by id or by flags, which must all match, or select all with --all.",
		Example: fmt.Sprintf(`  klinghook deadletters %[1]s 17 18
  klinghook deadletters %[1]s --kind notify:send --since 2h
  klinghook deadletters %[1]s --all`, name),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := choice.resolve(ids, time.Now()); err != nil {
				return err
			}
			if choice.isSet() == choice.all {
				return cli.Usagef("select dead letters either by id or flags, or all of them with --all")
			}
			return withReplayer(cmd, func(ctx context.Context, replayer *worker.Replayer) error {
				return endLetters(ctx, newConsole(os.Stdout, os.Stderr), replayer, choice.filter, done, end)
			})
		},
	}
	choice.addFlags(cmd)
	cmd.Flags().BoolVar(&choice.all, "all", false, "select all that are still dead")
	cli.AddFlags(cmd, config.Replay)
	return cmd
}

// endLetters ends all dead letters of the filter. A failure does not stop the others.
func endLetters(ctx context.Context, screen *console, replayer *worker.Replayer, filter store.DeadLetterFilter, done string, end endFunc) error {
	total, err := replayer.Store.CountDeadLetters(ctx, filter)
	if err != nil {
		return err
	}
	bar := screen.Bar("dead letters "+done, countText)
	defer bar.End()
	var errs []error
	var ended, seen int64
	for letter, err := range replayer.Store.EachDeadLetter(ctx, filter) {
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		bar.Set(seen, total)
		seen++
		switch ok, err := end(replayer, ctx, letter.ID); {
		case err != nil:
			errs = append(errs, err)
		case ok:
			ended++
		}
	}
	bar.End()
	if _, err := fmt.Fprintf(screen.Out(), "%d dead letters %s\n", ended, done); err != nil {
		return err
	}
	errs = append(shorten(errs), ctx.Err())
	if ended == 0 && len(filter.IDs) > 0 {
		errs = append(errs, checkLetters(ctx, replayer.Store, filter.IDs))
	}
	return errors.Join(errs...)
}

// checkLetters returns an error if no dead letter, ended or not, has one of the ids.
func checkLetters(ctx context.Context, db *store.Store, ids []int64) error {
	known, err := db.DeadLetters(ctx, store.DeadLetterFilter{IDs: ids, Ended: true, Outline: true, Limit: 1})
	if err == nil && len(known) == 0 {
		err = fmt.Errorf("no such dead letter: %w", store.ErrNotFound)
	}
	return err
}

// withReplayer runs f with a Replayer that has the secrets to verify events again.
func withReplayer(cmd *cobra.Command, f func(context.Context, *worker.Replayer) error) error {
	return withQueue(cmd, func(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, db *store.Store) error {
		sources, err := openedSources(cfg)
		if err != nil {
			return err
		}
		return f(ctx, &worker.Replayer{Redis: rdb, Store: db, EventShards: cfg.EventShards, Sources: sources, Now: time.Now})
	})
}

// openedSources returns the webhook protocols with their secrets.
func openedSources(cfg *config.Config) (map[string]source.Source, error) {
	var readErr error
	sources, err := source.All(func(setting string) []string {
		secrets, _, err := openedSecrets(cfg, setting)
		readErr = errors.Join(readErr, err)
		return secrets
	})
	return sources, errors.Join(readErr, err)
}
