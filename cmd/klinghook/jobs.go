package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func jobsCommand() *cobra.Command {
	return group("jobs", "Inspect, track and delete jobs", jobsListCommand(), jobsShowCommand(), jobsTrackCommand(), jobsRefreshCommand(), jobsNotifyCommand(), jobsDownloadCommand(), jobsDeleteCommand())
}

func jobsListCommand() *cobra.Command {
	var list listFlags
	var status, platform, tag string
	var expiring bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List jobs, most recently updated first",
		Long: `list prints jobs, most recently updated first. It only reads the database, so it can run
beside dev or workers.

--json prints a list of objects with platform (where the job runs: kling), id,
status, progress (percent, null if unknown), contradicted (true if events reported
two final states), video_missing (true if a completed job's video is not stored),
no_media (true if Kling gave no link to a completed job's file) and no_media_reason,
test_callback (true if the job's only event looks like the test callback of Kling's
console), costs (a list of amount, a decimal text, unit or currency, and kind: unit
or cash), prompt, model, duration_seconds, error, external_id, source
(the protocol), the times created_at, started_at and finished_at by Kling's clock,
first_received_at and last_received_at by klinghook's, and tags, expected_cost
(amount, unit) and metadata as in "klinghook jobs track". Unknown fields are left
out. Times are RFC 3339 in UTC.

--expiring lists files that are not stored yet and whose links are in the last tenth of
KLINGHOOK_LINK_LIFETIME or expired. Their JSON has platform, job_id, name and
expires_at.`,
		Example: `  klinghook jobs list --status failed
  klinghook jobs list --expiring
  klinghook jobs list --json --limit 0 | jq -r '.[].id'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if status != "" {
				if err := oneOf("status", status, statuses()); err != nil {
					return err
				}
			}
			return withStore(cmd, func(ctx context.Context, cfg *config.Config, db *store.Store) error {
				if expiring {
					return listExpiring(ctx, cmd.OutOrStdout(), cfg.LinkLifetime, db, list)
				}
				jobs, err := db.Jobs(ctx, store.JobFilter{Platform: platform, Status: tasks.Status(status), Tag: tag, Limit: int(list.limit)})
				if err != nil {
					return err
				}
				shown, err := withMissingVideos(ctx, db, each(jobs, dashboard.NewJob))
				if err != nil {
					return err
				}
				return jobTable(shown).print(cmd.OutOrStdout(), shown, list.asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&status, "status", "", "only jobs with this `status`: "+strings.Join(statuses(), ", "))
	cmd.Flags().BoolVar(&expiring, "expiring", false, "list files that are not stored yet and whose links expire soon, instead of jobs")
	cmd.Flags().StringVar(&platform, "platform", "", "only jobs of this `platform`, such as kling")
	cmd.MarkFlagsMutuallyExclusive("status", "expiring")
	cmd.Flags().StringVar(&tag, "tag", "", "only jobs with this `tag`")
	cmd.MarkFlagsMutuallyExclusive("platform", "expiring")
	cmd.MarkFlagsMutuallyExclusive("tag", "expiring")
	list.add(cmd)
	cli.AddFlags(cmd, config.Store)
	return cmd
}

// statuses returns the statuses of jobs.
func statuses() []string {
	return each(tasks.Statuses(), func(status tasks.Status) string { return string(status) })
}

func jobsShowCommand() *cobra.Command {
	var platform string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show <job-id>",
		Short: "Show a job with its media, notifications and events",
		Long: `show prints everything known about a job, and where its files are.

--json prints an object with the fields of "klinghook jobs list --json" and:
  media          name, state (pending, stored, failed), url, object (its name in
                 the bucket), size (bytes), sha256, content_type, error, stored_at,
                 download_url (a signed link to the stored file, if the bucket
                 signs links), download_url_expires_at
  notifications  id, type, destination, state (pending, sent, failed), error,
                 sent_at, created_at, attempts (at, duration_seconds, status, answer,
                 error); klinghook keeps the latest 10,000 of each destination
  events         the fields of "klinghook events list --json", repeat (an earlier one
                 had the same body) and late (an earlier one reported a later state);
                 repeated_at (when it was delivered again) is only in the API
  lookups        an object with api, tracked_at, asked (the number of look-ups since
                 the job last changed), next_at, requested_at and retry_at of a requested
                 look-up, and answers (at, duration_seconds, outcome: found, unknown,
                 unclear or failed, error)
  attempts       those that failed and were not the last, and downloads that stored a
                 file: task_id, attempt, at, duration_seconds, error, size
  dead_letters   as "klinghook deadletters show --json" prints them, without payload`,
		Example: `  klinghook jobs show vid_abc123
  klinghook jobs show vid_abc123 --json | jq -r '.media[].object'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			return withStore(cmd, func(ctx context.Context, cfg *config.Config, db *store.Store) error {
				key := tasks.JobKey{Platform: platform, ID: ids[0]}
				job, err := dashboard.ReadDetail(ctx, db, key)
				if errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("job %q: %w; `klinghook jobs list` lists all jobs", key, store.ErrNotFound)
				}
				if err != nil {
					return err
				}
				if asJSON {
					if err := signLinks(ctx, job.Media, cfg); err != nil {
						cmd.PrintErrln("warning: links to stored files are missing:", err)
					}
					return printJSON(cmd.OutOrStdout(), job)
				}
				return printJob(cmd.OutOrStdout(), job, cfg.BucketURL)
			})
		},
	}
	platformFlag(cmd, &platform)
	jsonFlag(cmd, &asJSON)
	cli.AddFlags(cmd, config.Store)
	return cmd
}

// platformFlag adds the flag for the platform of the jobs in a command's arguments.
func platformFlag(cmd *cobra.Command, platform *string) {
	cmd.Flags().StringVar(platform, "platform", tasks.PlatformKling, "the `platform` that runs the job")
}

// jobFlags adds the flags that select what belongs to a job. The command calls completeJob
// afterwards.
func jobFlags(cmd *cobra.Command, job *tasks.JobKey) {
	cmd.Flags().StringVar(&job.ID, "job", "", "only those of the job with this `id`")
	cmd.Flags().StringVar(&job.Platform, "platform", "", "only those of jobs of this `platform` (default with --job: kling)")
}

// completeJob sets the platform of a job that was given without one.
func completeJob(job *tasks.JobKey) {
	if job.ID != "" {
		job.Platform = cmp.Or(job.Platform, tasks.PlatformKling)
	}
}

// withMissingVideos sets VideoMissing for completed jobs without a stored video.
func withMissingVideos(ctx context.Context, db *store.Store, jobs []dashboard.Job) ([]dashboard.Job, error) {
	missing, err := db.MissingVideos(ctx, each(jobs, dashboard.Job.Key))
	for i, job := range jobs {
		jobs[i].VideoMissing = job.NoMedia || job.Status == tasks.StatusCompleted && slices.Contains(missing, job.Key())
	}
	return jobs, err
}

// expiringJSON is a file as "jobs list --expiring --json" prints it.
type expiringJSON struct {
	tasks.JobKey
	Name      string    `json:"name"`
	ExpiresAt time.Time `json:"expires_at"`
}

var expiringTable = table[expiringJSON]{
	"no pending file has a link that expires soon",
	[]string{"JOB", "FILE", "LINK EXPIRES"},
	func(m expiringJSON) []string { return []string{m.String(), m.Name, clock(m.ExpiresAt)} },
}

// listExpiring lists files that are not stored yet, earliest expiry first.
func listExpiring(ctx context.Context, w io.Writer, lifetime time.Duration, db *store.Store, list listFlags) error {
	files, err := db.ExpiringMedia(ctx, lifetime, time.Now(), int(list.limit))
	if err != nil {
		return err
	}
	return expiringTable.print(w, each(files, func(file store.Media) expiringJSON {
		return expiringJSON{file.Job, file.Name, file.LinkedAt.Add(lifetime)}
	}), list.asJSON)
}
