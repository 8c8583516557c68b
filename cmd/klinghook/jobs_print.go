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
func jobTable(jobs []jobJSON) table[jobJSON] {
	const costAt = 4
	jobTable := table[jobJSON]{
		"no jobs",
		[]string{"JOB", "STATUS", "PROGRESS", "MODEL", "LAST EVENT", "PROMPT"},
		func(job jobJSON) []string {
			return []string{job.Key().String(), job.statusText(), job.percent(), job.Model, clock(job.LastReceivedAt), cut(job.Prompt, 40)}
		},
	}
	if slices.ContainsFunc(jobs, func(job jobJSON) bool { return len(job.Costs) > 0 }) {
		row := jobTable.row
		jobTable.heading = slices.Insert(jobTable.heading, costAt, "COST")
		jobTable.row = func(job jobJSON) []string { return slices.Insert(row(job), costAt, job.costText()) }
	}
	return jobTable
}

func printJob(w io.Writer, job jobDetailJSON, bucketURL string) error {
	duration := ""
	if job.DurationSeconds > 0 {
		duration = strconv.FormatFloat(job.DurationSeconds, 'f', -1, 64) + " s"
	}
	expected := ""
	if job.ExpectedCost != nil {
		expected = job.ExpectedCost.String()
	}
	test := job.job().testText()
	return errors.Join(
		printFields(w, [][2]string{
			{"Job", job.Key().String()}, {"Status", job.job().statusText()}, {"Progress", job.job().percent()}, {"No media", job.NoMediaReason}, {"Error", job.Error},
			{"Prompt", job.Prompt}, {"Model", job.Model}, {"Duration", duration}, {"Cost", job.job().costText()}, {"External id", job.ExternalID}, {"Source", job.Source},
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

func (j jobJSON) statusText() string {
	switch {
	case j.Contradicted:
		return string(j.Status) + " (contradicted)"
	case j.TestCallback && j.Status == tasks.StatusTest:
		return testCallback
	case j.TestCallback:
		return string(j.Status) + maybeTest
	case j.NoMedia:
		return string(j.Status) + ", no media"
	case j.VideoMissing:
		return string(j.Status) + ", video not stored"
	}
	return string(j.Status)
}

const (
	testCallback = "test callback received"
	maybeTest    = ", or " + testCallback
)

// testText returns the text beside the types of the job's events.
func (j jobJSON) testText() string {
	switch {
	case !j.TestCallback:
		return ""
	case j.Status == tasks.StatusTest:
		return ": " + testCallback
	}
	return maybeTest
}

func (j jobJSON) costText() string {
	return strings.Join(each(j.Costs, tasks.Cost.String), ", ")
}

func (j jobJSON) percent() string {
	if j.Progress == nil {
		return "-"
	}
	return strconv.Itoa(*j.Progress) + "%"
}
