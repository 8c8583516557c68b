package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

// jobsAPI is what is behind PUT /jobs/<id>; nil where no token is set for it.
func jobsAPI(cfg *config.Config, db *store.Store, log *zap.Logger) http.Handler {
	if len(cfg.APITokens) == 0 {
		return nil
	}
	return admin.Jobs(admin.JobsConfig{Tokens: cfg.APITokens, Tracker: db, APIs: trackedAPIs(), Log: log})
}

// trackedAPIs are the names of the places where Kling keeps jobs.
func trackedAPIs() []string {
	names := []string{tasks.APITasks, tasks.APILegacy}
	for _, kind := range kling.Kinds() {
		if kind != kling.KindTasks {
			names = append(names, string(kind))
		}
	}
	return names
}

func jobsTrackCommand() *cobra.Command {
	var api string
	cmd := &cobra.Command{
		Use:   "track <job-id>...",
		Short: "Tell klinghook of jobs that were submitted",
		Long: `track makes jobs known before anything was heard of them. When nothing is heard
for KLINGHOOK_LOOKUP_AFTER, a worker that has credentials asks Kling about them; a job
whose first callback never comes is found like that. Tracking a job again changes
nothing. A job of the legacy API may be named by its external_task_id, too.

A program does the same with PUT /jobs/<job-id> on the worker's private address, with
one of KLINGHOOK_API_TOKEN's tokens: Authorization: Bearer <token>. The body may be
{"api": "text2video"}.`,
		Example: `  klinghook jobs track 893605946402811985
  klinghook jobs track --api text2video 893605946402811985`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if len(ids) == 0 {
				return cli.Usagef("klinghook jobs track takes one job id or more")
			}
			for _, id := range ids {
				if err := source.CheckJobID(id); err != nil {
					return cli.Usagef("%w", err)
				}
			}
			if api != "" {
				if err := oneOf("api", api, trackedAPIs()); err != nil {
					return err
				}
			}
			return withStore(cmd, func(ctx context.Context, db *store.Store) error { return trackJobs(ctx, cmd, db, ids, api) })
		},
	}
	cmd.Flags().StringVar(&api, "api", "", "where Kling keeps the jobs, as far as it is known: tasks, legacy, or the `path` of the legacy API")
	completes(cmd, "api", trackedAPIs()...)
	settings(cmd, config.Store)
	return cmd
}

func trackJobs(ctx context.Context, cmd *cobra.Command, db *store.Store, ids []string, api string) error {
	for _, id := range ids {
		created, err := db.Track(ctx, id, api, time.Now())
		if err != nil {
			return err
		}
		word := "tracked"
		if !created {
			word = "known already"
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", oneLine(id), word); err != nil {
			return err
		}
	}
	return nil
}

func jobsRefreshCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "refresh <job-id>...",
		Short: "Ask Kling about jobs now",
		Long: `refresh asks Kling about jobs at once, and puts what it answers on the way that a
webhook takes: a worker, or dev, records it. It needs credentials for Kling's API.`,
		Example: `  klinghook jobs refresh 893605946402811985`,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if len(ids) == 0 {
				return cli.Usagef("klinghook jobs refresh takes one job id or more")
			}
			return withQueue(cmd, func(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, db *store.Store) error {
				return refresh(ctx, cmd, cfg, rdb, db, ids)
			})
		},
	}
	settings(cmd, config.Replay)
	return cmd
}

func refresh(ctx context.Context, cmd *cobra.Command, cfg *config.Config, rdb redis.UniversalClient, db *store.Store, ids []string) error {
	if !hasCredentials(cfg) {
		return cli.Usagef("KLINGAI_API_KEY is not set, and Kling tells nobody else about jobs; make a key in Kling's console and set it, or name its file in KLINGAI_API_KEY_FILE")
	}
	client, err := klingClient(cfg)
	if err != nil {
		return err
	}
	queue := tasks.NewShardedClient(rdb, cfg.EventShards)
	var rows [][]string
	var errs []error
	for _, id := range ids {
		job, news, err := refreshJob(ctx, client, queue, db, id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		word := "yes"
		if !news {
			word = "no"
		}
		rows = append(rows, []string{job.ID, job.KlingStatus, clock(job.UpdatedAt), word})
	}
	if len(rows) > 0 {
		errs = append(errs, printTable(cmd.OutOrStdout(), []string{"JOB", "STATUS AT KLING", "UPDATED", "NEWS"}, rows))
	}
	return errors.Join(errs...)
}

// refreshJob asks Kling about a job and enqueues the answer. news reports that it was
// not there already.
func refreshJob(ctx context.Context, client *kling.Client, queue *tasks.Client, db *store.Store, id string) (job kling.Job, news bool, err error) {
	api, err := db.JobAPI(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return job, false, err
	}
	job, err = client.Job(ctx, id, worker.KindsOf(api)...)
	if errors.Is(err, kling.ErrNotFound) {
		return job, false, fmt.Errorf("job %q: %w: Kling does not know it, or not by this account", id, store.ErrNotFound)
	}
	if err != nil {
		return job, false, err
	}
	ev, err := worker.LookupEvent(job, time.Now())
	if err != nil {
		return job, false, err
	}
	task, err := tasks.RecordEvent(ev)
	if err != nil {
		return job, false, err
	}
	duplicate, err := queue.Enqueue(ctx, task)
	return job, !duplicate, err
}
