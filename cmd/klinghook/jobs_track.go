package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/kling"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

func jobsTrackCommand() *cobra.Command {
	var described trackFlags
	cmd := &cobra.Command{
		Use:   "track <job-id>...",
		Short: "Track jobs that were submitted to Kling",
		Long: `track adds jobs before their first event arrives. Workers with credentials ask Kling
about each job that has had no news for KLINGHOOK_LOOKUP_AFTER, so a tracked job completes
even if its callbacks never arrive. A job of the legacy API can also be tracked by its
external_task_id.

The flags describe the jobs, because callbacks contain neither prompt nor model. They can
be given before or after the first event, and repeatedly. The last value wins, and an
empty one ("{}" for metadata) removes it. Prompt, model, external id and source are used
if Kling's events have none.

Programs can send PUT /api/v1/jobs/<job-id> to admin's address instead, with the header
"Authorization: Bearer <token>" and a token from KLINGHOOK_ADMIN_TOKEN. The body is
empty or an object with platform, api, source, prompt, model, external_id, tags (a
list), expected_cost (such as "0.35 USD") and metadata (an object of at most 16 KiB).`,
		Example: `  klinghook jobs track 893605946402811985
  klinghook jobs track --api text2video 893605946402811985
  klinghook jobs track --api audio/text-to-audio 893605946402811986
  klinghook jobs track --prompt 'a cat' --tag blue --tag test \
    --expected-cost '0.35 USD' --metadata '{"order": 7}' 893605946402811985`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			for _, id := range ids {
				if err := source.CheckJobID(id); err != nil {
					return cli.Usagef("%w", err)
				}
			}
			platform, metadata, err := described.parse(cmd)
			if err != nil {
				return err
			}
			return withStore(cmd, func(ctx context.Context, _ *config.Config, db *store.Store) error {
				return trackJobs(ctx, cmd.OutOrStdout(), db, platform, ids, metadata)
			})
		},
	}
	described.add(cmd)
	cli.AddFlags(cmd, config.Store)
	return cmd
}

// trackFlags describe the jobs that are tracked.
type trackFlags struct {
	texts map[string]*string // by flag
	tags  []string
}

func (f *trackFlags) add(cmd *cobra.Command) {
	f.texts = map[string]*string{}
	for _, flag := range [][2]string{
		{"platform", "the `platform` that runs the jobs (default: kling)"},
		{"api", "the `API` that created the jobs, if known: tasks, legacy, or a path of the legacy API such as text2video or images/generations"},
		{"source", "the `protocol` that their events will have"},
		{"prompt", "their `prompt`"},
		{"model", "their `model`"},
		{"external-id", "your own `id` of the job"},
		{"expected-cost", "what a job should cost, such as '0.35 USD'"},
		{"metadata", "a JSON `object` of your own"},
	} {
		f.texts[flag[0]] = cmd.Flags().String(flag[0], "", flag[1])
	}
	cmd.Flags().StringArrayVar(&f.tags, "tag", nil, "a `tag` of the jobs; repeat for several")
}

// parse returns the platform and the metadata of the flags that are given.
func (f *trackFlags) parse(cmd *cobra.Command) (platform string, m tasks.Metadata, err error) {
	body := map[string]any{}
	for flag, text := range f.texts {
		if cmd.Flags().Changed(flag) {
			body[strings.ReplaceAll(flag, "-", "_")] = *text
		}
	}
	if text, given := body["metadata"].(string); given {
		if !json.Valid([]byte(text)) {
			return "", m, cli.Usagef(`--metadata is not JSON; write an object such as '{"order": 7}'`)
		}
		body["metadata"] = json.RawMessage(text)
	}
	if cmd.Flags().Changed("tag") {
		body["tags"] = slices.DeleteFunc(f.tags, func(tag string) bool { return tag == "" })
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return "", m, err
	}
	platform, m, err = source.ParseMetadata(raw)
	if err != nil {
		return "", m, cli.Usagef("%w", err)
	}
	if m.API != "" {
		err = oneOf("api", m.API, dashboard.TrackedAPIs())
	}
	return platform, m, err
}

func trackJobs(ctx context.Context, w io.Writer, db *store.Store, platform string, ids []string, m tasks.Metadata) error {
	for _, id := range ids {
		created, err := db.Track(ctx, tasks.JobKey{Platform: platform, ID: id}, m, time.Now())
		if err != nil {
			return err
		}
		result := "tracked"
		if !created {
			result = "already known"
		}
		if _, err := fmt.Fprintf(w, "%s  %s\n", oneLine(id), result); err != nil {
			return err
		}
	}
	return nil
}

func jobsRefreshCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "refresh <job-id>...",
		Short: "Look up jobs at Kling now",
		Long: `refresh looks up jobs at Kling and enqueues the answers like webhooks. A worker or dev
records them. It needs credentials for Kling's API.`,
		Example: `  klinghook jobs refresh 893605946402811985`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			return withQueue(cmd, func(ctx context.Context, cfg *config.Config, rdb redis.UniversalClient, db *store.Store) error {
				return refresh(ctx, cmd.OutOrStdout(), cfg, rdb, db, ids)
			})
		},
	}
	cli.AddFlags(cmd, config.Replay)
	return cmd
}

// refreshed is the answer for one job.
type refreshed struct {
	kling.Answer
	news bool // false if the answer was already enqueued
}

var refreshedTable = table[refreshed]{
	"no answers",
	[]string{"JOB", "STATUS AT KLING", "UPDATED", "NEW"},
	func(r refreshed) []string {
		news := "yes"
		if !r.news {
			news = "no"
		}
		return []string{r.ID, r.KlingStatus, clock(r.UpdatedAt), news}
	},
}

func refresh(ctx context.Context, w io.Writer, cfg *config.Config, rdb redis.UniversalClient, db *store.Store, ids []string) error {
	if !hasCredentials(cfg) {
		return cli.Usagef("KLINGAI_API_KEY is not set, and Kling requires it; create a key in Kling's console and set it, or name its file in KLINGAI_API_KEY_FILE")
	}
	client, err := klingClient(cfg)
	if err != nil {
		return err
	}
	queue := tasks.NewShardedClient(rdb, cfg.EventShards)
	var answers []refreshed
	var errs []error
	for _, id := range ids {
		answer, err := refreshJob(ctx, client, queue, db, id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		answers = append(answers, answer)
	}
	if len(answers) > 0 {
		errs = append(errs, refreshedTable.print(w, answers, false))
	}
	return errors.Join(errs...)
}

// refreshJob looks up a job at Kling and enqueues the answer.
func refreshJob(ctx context.Context, client *kling.API, queue *tasks.Client, db *store.Store, id string) (answer refreshed, err error) {
	api, err := db.JobAPI(ctx, tasks.KlingJob(id))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return answer, err
	}
	answer.Answer, err = client.Job(ctx, id, worker.KindsOf(api)...)
	if errors.Is(err, kling.ErrNotFound) {
		return answer, fmt.Errorf("job %q: %w: Kling does not know it, or it belongs to another account", id, store.ErrNotFound)
	}
	if err != nil {
		return answer, err
	}
	event, err := worker.LookupEvent(answer.Answer, time.Now())
	if err != nil {
		return answer, err
	}
	task, err := tasks.RecordEvent(event)
	if err != nil {
		return answer, err
	}
	duplicate, err := queue.Enqueue(ctx, task)
	answer.news = !duplicate
	return answer, err
}
