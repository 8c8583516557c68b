package kling

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/klinghook/klinghook/tasks"
)

// Job is what a look-up tells of a job. All but ID and Raw may be empty.
type Job struct {
	// ID is Kling's id of the job; ExternalID is the one that its creator chose.
	ID, ExternalID string
	// Kind is where the job was found: pass it first when asking again.
	Kind Kind
	// Status is how far the job is; empty for a status that is not known.
	Status tasks.Status
	// KlingStatus is the status in Kling's own word, e.g. "succeed".
	KlingStatus string
	// Message is what Kling says of the status: why a job failed.
	Message string
	// CreatedAt and UpdatedAt are Kling's times, in UTC.
	CreatedAt, UpdatedAt time.Time
	// Outputs are the files that the job made, in Kling's order.
	Outputs []Output
	// Raw is the job's JSON object, byte for byte as it was received.
	Raw json.RawMessage
}

// Output is a file that a job made.
type Output struct {
	// Type is OutputVideo, OutputImage, or another word of Kling's. One without a
	// type is a video.
	Type string
	// ID is Kling's id of the file.
	ID string
	// URL is where to fetch the file, and WatermarkURL its variant with a
	// watermark. They carry signatures and die 30 days after the job, or sooner:
	// log neither. Another look-up gives fresh ones.
	URL, WatermarkURL string
	// Duration is the length of a video, to the millisecond.
	Duration time.Duration
}

// The types of outputs that klinghook knows.
const (
	OutputVideo = "video"
	OutputImage = "image"
)

// parseJob reads one job's object, legacy or new: task_id means legacy, id new.
func parseJob(raw json.RawMessage) (Job, error) {
	f := parseFields(raw)
	isNew, isLegacy := f.get("id") != nil, f.get("task_id") != nil
	var job Job
	switch {
	case f == nil:
		return Job{}, errors.New("not an object")
	case isNew && isLegacy:
		return Job{}, errors.New(`both "id" and "task_id"`)
	case isNew:
		job = f.newJob()
	case isLegacy:
		job = f.legacyJob()
	default:
		return Job{}, errors.New(`neither "id" nor "task_id"`)
	}
	if err := checkID(job.ID); err != nil {
		return Job{}, err
	}
	job.Status = statusOf(job.KlingStatus)
	job.Raw = raw
	return job, nil
}

func (f fields) newJob() Job {
	job := Job{
		ID:          f.scalar("id"),
		ExternalID:  f.text("external_id"),
		KlingStatus: f.text("status"),
		Message:     f.text("message"),
		CreatedAt:   f.time("create_time"),
		UpdatedAt:   f.time("update_time"),
	}
	for _, output := range f.objects("outputs") {
		kind := output.text("type")
		if kind == "" {
			kind = OutputVideo
		}
		job.Outputs = append(job.Outputs, output.output(kind))
	}
	return job
}

func (f fields) legacyJob() Job {
	job := Job{
		ID:          f.scalar("task_id"),
		ExternalID:  f.object("task_info").text("external_task_id"),
		KlingStatus: f.text("task_status"),
		Message:     f.text("task_status_msg"),
		CreatedAt:   f.time("created_at"),
		UpdatedAt:   f.time("updated_at"),
	}
	result := f.object("task_result")
	for _, video := range result.objects("videos") {
		job.Outputs = append(job.Outputs, video.output(OutputVideo))
	}
	for _, image := range result.objects("images") {
		job.Outputs = append(job.Outputs, image.output(OutputImage))
	}
	return job
}

func (f fields) output(kind string) Output {
	return Output{
		Type:         kind,
		ID:           f.scalar("id"),
		URL:          f.text("url"),
		WatermarkURL: f.text("watermark_url"),
		Duration:     f.seconds("duration"),
	}
}

// statusOf returns what a status in Kling's words means; empty for others. The
// seed protocol's words are seen in relays' answers. It says the same as the
// official protocol in source, which a test holds.
func statusOf(word string) tasks.Status {
	switch word {
	case "submitted", "created":
		return tasks.StatusCreated
	case "processing":
		return tasks.StatusProcessing
	case "succeed", "succeeded", "completed":
		return tasks.StatusCompleted
	case "failed":
		return tasks.StatusFailed
	case "canceled", "cancelled":
		return tasks.StatusCancelled
	}
	return ""
}

// maxIDBytes is the longest id that klinghook keeps.
const maxIDBytes = 256

// checkID says what keeps a text from being a job's id.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("an empty id")
	case len(id) > maxIDBytes:
		return fmt.Errorf("an id of more than %d bytes", maxIDBytes)
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("an id with a character that is none")
	}
	return nil
}
