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
	"github.com/klinghook/klinghook/store"
	"github.com/klinghook/klinghook/tasks"
)

func jobsCommand() *cobra.Command {
	return group("jobs", "Look at Kling's jobs", jobsListCommand(), jobsShowCommand())
}

func jobsListCommand() *cobra.Command {
	var status string
	var most int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List jobs, the one last heard of first",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			statuses := []string{"", string(tasks.StatusCreated), string(tasks.StatusProcessing), string(tasks.StatusCompleted), string(tasks.StatusFailed), string(tasks.StatusCancelled)}
			if err := oneOf("status", status, statuses); err != nil {
				return err
			}
			return withStore(cmd, func(ctx context.Context, db *store.Store) error {
				jobs, err := db.Jobs(ctx, store.JobFilter{Status: tasks.Status(status), Limit: most})
				if err != nil {
					return err
				}
				return printJobs(cmd.OutOrStdout(), jobs, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&status, "status", "", "only jobs of this status: created, processing, completed, failed or cancelled")
	cmd.Flags().IntVar(&most, "limit", 50, "how many at most; 0 is no limit")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cli.AddFlags(cmd.Flags(), config.Store)
	return cmd
}

func jobsShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show <job-id>",
		Short: "Show a job with its media, notifications and events",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			return withStore(cmd, func(ctx context.Context, db *store.Store) error {
				job, err := readJob(ctx, db, given[0])
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
	cli.AddFlags(cmd.Flags(), config.Store)
	return cmd
}

// withStore runs f on the database of the command's settings.
func withStore(cmd *cobra.Command, f func(context.Context, *store.Store) error) (err error) {
	cfg, err := load(config.Store, cmd)
	if err != nil {
		return err
	}
	db, err := openStore(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return f(cmd.Context(), db)
}

// oneOf refuses a flag's value that is none of those there are.
func oneOf(flag, value string, known []string) error {
	for _, k := range known {
		if value == k {
			return nil
		}
	}
	return cli.Usagef("--%s is %q; it can be %s", flag, value, strings.Trim(strings.Join(known, ", "), ", "))
}

// jobJSON is a job as --json prints it.
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

	Media         []mediaJSON        `json:"media,omitempty"`
	Notifications []notificationJSON `json:"notifications,omitempty"`
	Events        []eventJSON        `json:"events,omitempty"`
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
func readJob(ctx context.Context, db *store.Store, id string) (jobJSON, error) {
	j, err := db.Job(ctx, id)
	if err != nil {
		return jobJSON{}, err
	}
	job := newJobJSON(j)
	media, err := db.MediaOf(ctx, id)
	if err != nil {
		return jobJSON{}, err
	}
	for _, m := range media {
		job.Media = append(job.Media, mediaJSON{m.Name, string(m.State), m.URL, m.Object, m.Size, m.SHA256, m.ContentType, m.Error, m.StoredAt})
	}
	notifications, err := db.NotificationsOf(ctx, id)
	if err != nil {
		return jobJSON{}, err
	}
	for _, n := range notifications {
		job.Notifications = append(job.Notifications, notificationJSON{n.ID, n.Type, n.Destination, string(n.State), n.Error, n.SentAt})
	}
	events, err := db.Events(ctx, store.EventFilter{JobID: id})
	if err != nil {
		return jobJSON{}, err
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
		_, err := fmt.Fprintln(w, "no jobs yet")
		return err
	}
	var rows [][]string
	for _, j := range jobs {
		rows = append(rows, []string{j.ID, statusText(j.Status, j.Contradicted), percent(j.Progress), j.Model, clock(j.LastReceivedAt), cut(j.Prompt, 40)})
	}
	return printTable(w, []string{"JOB", "STATUS", "PROGRESS", "MODEL", "LAST EVENT", "PROMPT"}, rows)
}

func printJob(w io.Writer, j jobJSON) error {
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
