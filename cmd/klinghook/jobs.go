package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

func jobsCommand() *cobra.Command {
	return group("jobs", "Look at Kling's jobs", jobsListCommand(), jobsShowCommand(), jobsTrackCommand(), jobsRefreshCommand())
}

func jobsListCommand() *cobra.Command {
	var filter store.JobFilter
	var status string
	var asJSON, expiring bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List jobs, the one last heard of first",
		Long: `list lists Kling's jobs, the one last heard of first. It reads the database, also
while dev or workers run.

With --json it prints a list of objects with id, status, progress (percent, null
when unknown), contradicted (true when events claimed two ends), prompt, model,
duration_seconds, error, external_id, source (the protocol), and the times
created_at, started_at and finished_at by Kling's clock, first_received_at and
last_received_at by ours. What is not known is left out. Times are RFC 3339, UTC.

With --expiring it lists files instead that are not stored yet and whose links die
soon: within the last tenth of KLINGHOOK_LINK_LIFETIME, or by now. As JSON they have
job_id, name and expires_at.`,
		Example: `  klinghook jobs list --status failed
  klinghook jobs list --expiring
  klinghook jobs list --json --limit 0 | jq -r '.[].id'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if status != "" {
				if err := oneOf("status", status, jobStatuses()); err != nil {
					return err
				}
			}
			filter.Status = tasks.Status(status)
			if err := checkLimit(filter.Limit); err != nil {
				return err
			}
			if expiring && status != "" {
				return cli.Usagef("--expiring lists files, which --status does not choose; leave one of them out")
			}
			if expiring {
				return listExpiring(cmd, filter.Limit, asJSON)
			}
			return withStore(cmd, func(ctx context.Context, db *store.Store) error {
				jobs, err := db.Jobs(ctx, filter)
				if err != nil {
					return err
				}
				return printJobs(cmd.OutOrStdout(), jobs, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&status, "status", "", "only jobs of this `status`: "+strings.Join(jobStatuses(), ", "))
	cmd.Flags().IntVar(&filter.Limit, "limit", 50, "list `n` at most; 0 is no limit")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&expiring, "expiring", false, "list files whose links die before they are stored")
	completes(cmd, "status", jobStatuses()...)
	settings(cmd, config.Store)
	return cmd
}

func jobsShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show <job-id>",
		Short: "Show a job with its media, notifications and events",
		Long: `show prints all that is known of a job.

With --json it prints an object as those of "klinghook jobs list --json", with
three lists besides:
  media          name, state (pending, stored, failed), url, object (its name in
                 the bucket), size (bytes), sha256, content_type, error, stored_at
  notifications  id, type, destination, state (pending, sent, failed), error,
                 sent_at
  events         as those of "klinghook events list --json"`,
		Example: `  klinghook jobs show vid_abc123
  klinghook jobs show vid_abc123 --json | jq -r '.media[].object'`,
		Args: oneArg("one job id"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return withStore(cmd, func(ctx context.Context, db *store.Store) error {
				job, err := readJob(ctx, db, given[0])
				if errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("job %q: %w; `klinghook jobs list` lists those there are", given[0], store.ErrNotFound)
				}
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), job)
				}
				return printJob(cmd.OutOrStdout(), job)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	settings(cmd, config.Store)
	return cmd
}

// jobStatuses are the values of --status, in a job's order.
func jobStatuses() []string {
	return []string{
		string(tasks.StatusCreated), string(tasks.StatusProcessing),
		string(tasks.StatusCompleted), string(tasks.StatusFailed), string(tasks.StatusCancelled), string(tasks.StatusLost),
	}
}

// checkLimit refuses a --limit below 0.
func checkLimit(limit int) error {
	if limit < 0 {
		return cli.Usagef("--limit is %d; it takes a number from 0, which is no limit", limit)
	}
	return nil
}

// jobJSON is a job as "jobs list --json" prints it. Names once printed stay.
type jobJSON struct {
	ID              string       `json:"id"`
	Status          tasks.Status `json:"status"`
	Progress        *int         `json:"progress"`
	Prompt          string       `json:"prompt,omitempty"`
	Model           string       `json:"model,omitempty"`
	DurationSeconds float64      `json:"duration_seconds,omitempty"`
	Error           string       `json:"error,omitempty"`
	ExternalID      string       `json:"external_id,omitempty"`
	Source          string       `json:"source,omitempty"`
	Contradicted    bool         `json:"contradicted"`
	CreatedAt       time.Time    `json:"created_at,omitzero"`
	StartedAt       time.Time    `json:"started_at,omitzero"`
	FinishedAt      time.Time    `json:"finished_at,omitzero"`
	FirstReceivedAt time.Time    `json:"first_received_at"`
	LastReceivedAt  time.Time    `json:"last_received_at"`
}

// jobDetailJSON is a job as "jobs show --json" prints it. Its lists may be empty,
// and are always there.
type jobDetailJSON struct {
	jobJSON
	Media         []mediaJSON        `json:"media"`
	Notifications []notificationJSON `json:"notifications"`
	Events        []eventJSON        `json:"events"`
}

type mediaJSON struct {
	Name        string    `json:"name"`
	State       string    `json:"state"`
	URL         string    `json:"url"`
	Object      string    `json:"object,omitempty"`
	Size        int64     `json:"size,omitempty"`
	SHA256      string    `json:"sha256,omitempty"`
	ContentType string    `json:"content_type,omitempty"`
	Error       string    `json:"error,omitempty"`
	StoredAt    time.Time `json:"stored_at,omitzero"`
}

type notificationJSON struct {
	ID          string    `json:"id"`
	Type        string    `json:"type"`
	Destination string    `json:"destination"`
	State       string    `json:"state"`
	Error       string    `json:"error,omitempty"`
	SentAt      time.Time `json:"sent_at,omitzero"`
}

func newJobJSON(j store.Job) jobJSON {
	return jobJSON{
		ID: j.ID, Status: j.Status, Progress: j.Progress, Prompt: j.Prompt, Model: j.Model,
		DurationSeconds: j.Duration.Seconds(), Error: j.Error, ExternalID: j.ExternalID, Source: j.Source,
		Contradicted: j.Contradicted, CreatedAt: j.CreatedAt, StartedAt: j.StartedAt, FinishedAt: j.FinishedAt,
		FirstReceivedAt: j.FirstReceivedAt, LastReceivedAt: j.LastReceivedAt,
	}
}

// readJob returns a job with all that belongs to it.
func readJob(ctx context.Context, db *store.Store, id string) (jobDetailJSON, error) {
	job := jobDetailJSON{Media: []mediaJSON{}, Notifications: []notificationJSON{}, Events: []eventJSON{}}
	j, err := db.Job(ctx, id)
	if err != nil {
		return job, err
	}
	job.jobJSON = newJobJSON(j)
	media, err := db.MediaOf(ctx, id)
	if err != nil {
		return job, err
	}
	for _, m := range media {
		job.Media = append(job.Media, mediaJSON{m.Name, string(m.State), m.URL, m.Object, m.Size, m.SHA256, m.ContentType, m.Error, m.StoredAt})
	}
	notifications, err := db.NotificationsOf(ctx, id)
	if err != nil {
		return job, err
	}
	for _, n := range notifications {
		job.Notifications = append(job.Notifications, notificationJSON{n.ID, n.Type, n.Destination, string(n.State), n.Error, n.SentAt})
	}
	events, err := db.Events(ctx, store.EventFilter{JobID: id})
	if err != nil {
		return job, err
	}
	for _, ev := range events {
		job.Events = append(job.Events, newEventJSON(ev, false))
	}
	return job, nil
}

func printJobs(w io.Writer, jobs []store.Job, asJSON bool) error {
	if asJSON {
		list := make([]jobJSON, 0, len(jobs))
		for _, j := range jobs {
			list = append(list, newJobJSON(j))
		}
		return printJSON(w, list)
	}
	if len(jobs) == 0 {
		_, err := fmt.Fprintln(w, "no jobs")
		return err
	}
	var rows [][]string
	for _, j := range jobs {
		rows = append(rows, []string{j.ID, statusText(j.Status, j.Contradicted), percent(j.Progress), j.Model, clock(j.LastReceivedAt), cut(j.Prompt, 40)})
	}
	return printTable(w, []string{"JOB", "STATUS", "PROGRESS", "MODEL", "LAST EVENT", "PROMPT"}, rows)
}

func printJob(w io.Writer, j jobDetailJSON) error {
	duration := ""
	if j.DurationSeconds > 0 {
		duration = strconv.FormatFloat(j.DurationSeconds, 'f', -1, 64) + " s"
	}
	err := printFields(w, [][2]string{
		{"Job", j.ID}, {"Status", statusText(j.Status, j.Contradicted)}, {"Progress", percent(j.Progress)}, {"Error", j.Error},
		{"Prompt", j.Prompt}, {"Model", j.Model}, {"Duration", duration}, {"External id", j.ExternalID}, {"Source", j.Source},
		{"Created", clock(j.CreatedAt)}, {"Started", clock(j.StartedAt)}, {"Finished", clock(j.FinishedAt)},
		{"First event", clock(j.FirstReceivedAt)}, {"Last event", clock(j.LastReceivedAt)},
	})
	if err != nil {
		return err
	}
	var media, notifications, events [][]string
	for _, m := range j.Media {
		media = append(media, []string{m.Name, m.State, m.Object, sizeText(m.Size), m.ContentType, cut(m.SHA256, 13), m.Error})
	}
	for _, n := range j.Notifications {
		notifications = append(notifications, []string{n.Type, n.Destination, n.State, clock(n.SentAt), n.Error})
	}
	for _, ev := range j.Events {
		events = append(events, []string{clock(ev.ReceivedAt), ev.Type, ev.ID})
	}
	return errors.Join(
		section(w, "Media", []string{"NAME", "STATE", "OBJECT", "SIZE", "TYPE", "SHA-256", "ERROR"}, media),
		section(w, "Notifications", []string{"TYPE", "DESTINATION", "STATE", "SENT", "ERROR"}, notifications),
		section(w, "Events", []string{"RECEIVED", "TYPE", "EVENT"}, events),
	)
}

// section is a table under a title; nothing when it has no rows.
func section(w io.Writer, title string, heading []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\n%s\n", title)
	return printTable(w, heading, rows)
}

func statusText(s tasks.Status, contradicted bool) string {
	if contradicted {
		return string(s) + " (contradicted)"
	}
	return string(s)
}

func percent(p *int) string {
	if p == nil {
		return "-"
	}
	return strconv.Itoa(*p) + "%"
}
