package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/tasks"
)

// jobTable returns the table for jobs, with their costs if any has some.
func jobTable(jobs []dashboard.Job) table[dashboard.Job] {
	const costAt = 4
	jobTable := table[dashboard.Job]{
		"no jobs",
		[]string{"JOB", "STATUS", "PROGRESS", "MODEL", "LAST EVENT", "PROMPT"},
		func(job dashboard.Job) []string {
			return []string{job.Key().String(), statusText(job), percent(job.Progress), job.Model, clock(job.LastReceivedAt), cut(job.Prompt, 40)}
		},
	}
	if slices.ContainsFunc(jobs, func(job dashboard.Job) bool { return len(job.Costs) > 0 }) {
		row := jobTable.row
		jobTable.heading = slices.Insert(jobTable.heading, costAt, "COST")
		jobTable.row = func(job dashboard.Job) []string { return slices.Insert(row(job), costAt, costText(job.Costs)) }
	}
	return jobTable
}

func printJob(w io.Writer, job dashboard.JobDetail, bucketURL string) error {
	duration := ""
	if job.DurationSeconds > 0 {
		duration = strconv.FormatFloat(job.DurationSeconds, 'f', -1, 64) + " s"
	}
	expected := ""
	if job.ExpectedCost != nil {
		expected = job.ExpectedCost.String()
	}
	test := testText(job.Job)
	return errors.Join(
		printFields(w, [][2]string{
			{"Job", job.Key().String()}, {"Status", statusText(job.Job)}, {"Progress", percent(job.Progress)}, {"No media", job.NoMediaReason}, {"Error", job.Error},
			{"Prompt", job.Prompt}, {"Model", job.Model}, {"Duration", duration}, {"Cost", costText(job.Costs)}, {"External id", job.ExternalID}, {"Source", job.Source},
			{"Created", clock(job.CreatedAt)}, {"Started", clock(job.StartedAt)}, {"Finished", clock(job.FinishedAt)},
			{"Tags", strings.Join(job.Tags, ", ")}, {"Expected cost", expected},
			{"Metadata", string(job.Metadata)}, {"First event", clock(job.FirstReceivedAt)}, {"Last event", clock(job.LastReceivedAt)},
		}),
		table[dashboard.Media]{"", []string{"NAME", "STATE", "OBJECT", "SIZE", "TYPE", "SHA-256", "ERROR"}, func(file dashboard.Media) []string {
			return []string{file.Name, file.State, file.Object, sizeText(file.Size), file.ContentType, cut(file.SHA256, 13), file.Error}
		}}.section(w, "Media", job.Media),
		printLocations(w, job.Media, bucketURL),
		table[dashboard.Notification]{"", []string{"TYPE", "DESTINATION", "STATE", "SENT", "ERROR"}, func(notification dashboard.Notification) []string {
			return []string{notification.Type, notification.Destination, notification.State, clock(notification.SentAt), notification.Error}
		}}.section(w, "Notifications", job.Notifications),
		table[dashboard.Event]{"", []string{"RECEIVED", "TYPE", "EVENT"}, func(event dashboard.Event) []string {
			return []string{clock(event.ReceivedAt), event.Type + test, event.ID}
		}}.section(w, "Events", job.Events),
	)
}

// printLocations prints where the stored files are: a path, the URL of an object, or in
// the Compose stack a command that copies the file out of it.
func printLocations(w io.Writer, media []dashboard.Media, bucketURL string) error {
	bucket, _ := url.Parse(bucketURL) // a valid setting
	if bucket == nil || bucket.Scheme == "" {
		return nil
	}
	title := "\nFiles\n"
	for _, file := range media {
		if file.Object == "" {
			continue
		}
		location := bucket.Scheme + "://" + bucket.Host + "/" + bucket.Query().Get("prefix") + file.Object
		if bucket.Scheme == "file" {
			location = filepath.Join(filepath.FromSlash(bucket.Path), filepath.FromSlash(file.Object))
			if inCompose() {
				location = "docker compose cp worker:" + location + " ."
			}
		}
		if _, err := fmt.Fprintln(w, title+oneLine(location)); err != nil {
			return err
		}
		title = ""
	}
	return nil
}

// inCompose reports whether docker-compose.yml, which sets ENV_FILE, runs this process.
func inCompose() bool { return os.Getenv("ENV_FILE") != "" }

// statusText returns the status of a job for people.
func statusText(job dashboard.Job) string {
	switch {
	case job.Contradicted:
		return string(job.Status) + " (contradicted)"
	case job.TestCallback && job.Status == tasks.StatusTest:
		return testCallback
	case job.TestCallback:
		return string(job.Status) + maybeTest
	case job.NoMedia:
		return string(job.Status) + ", no media"
	case job.VideoMissing:
		return string(job.Status) + ", video not stored"
	}
	return string(job.Status)
}

const (
	testCallback = "test callback received"
	maybeTest    = ", or " + testCallback
)

// testText returns the text beside the types of the job's events.
func testText(job dashboard.Job) string {
	switch {
	case !job.TestCallback:
		return ""
	case job.Status == tasks.StatusTest:
		return ": " + testCallback
	}
	return maybeTest
}

func costText(costs []tasks.Cost) string {
	return strings.Join(each(costs, tasks.Cost.String), ", ")
}

func percent(progress *int) string {
	if progress == nil {
		return "-"
	}
	return strconv.Itoa(*progress) + "%"
}
