package notify

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// maxRendered limits the output of a template, in bytes.
const maxRendered = 64 << 10

// Text is what the template of chat messages can use. Texts from outside are safe for
// chat: one line each, at most 200 characters, without mentions and signed links.
type Text struct {
	// Title and Details are the message as it is without a template: its first line, and
	// the rest.
	Title, Details string
	// Type is the event's type, e.g. "video.completed"; Event is the part after the dot.
	Type, Event string
	// Time is when klinghook received the event.
	Time time.Time
	Job  TextJob
	// Files are the job's files.
	Files []TextFile
}

// TextJob is the job of a [Text]. Unknown fields are empty.
type TextJob struct {
	ID, Status, Prompt, Model, Error, ExternalID, Source string
	// Progress is in percent.
	Progress int
	// Seconds is the length of the video, e.g. "5.1".
	Seconds string
}

// TextFile is a file of a [Text].
type TextFile struct {
	Name, State, ContentType string
	// Object is its name in the bucket once it is stored, and Size its size, e.g. "12.3 MB".
	Object, Size string
}

func newText(message Message) Text {
	job := message.Job
	text := Text{
		Title: title(message), Details: strings.Join(lines(message), "\n"),
		Type: clean(message.Type), Event: clean(strings.TrimPrefix(message.Type, "video.")), Time: message.At.UTC(),
		Job: TextJob{
			ID: clean(job.ID), Status: clean(string(job.Status)), Prompt: clean(job.Prompt), Model: clean(job.Model), Error: clean(job.Error),
			ExternalID: clean(job.ExternalID), Source: clean(job.Source), Progress: job.Progress,
		},
	}
	if seconds := time.Duration(job.Duration).Seconds(); seconds > 0 {
		text.Job.Seconds = strconv.FormatFloat(seconds, 'f', -1, 64)
	}
	for _, media := range message.Media {
		file := TextFile{Name: clean(media.Name), State: clean(media.State), ContentType: clean(media.ContentType)}
		if media.isStored() {
			file.Object, file.Size = clean(media.Object), size(media.Size)
		}
		text.Files = append(text.Files, file)
	}
	return text
}

// CheckText returns an error if a template of chat messages cannot be used.
func CheckText(text string) error {
	_, err := parseText(text)
	return err
}

// parseText parses a template, and tries it on an event with every field and on one with
// none: text/template finds an unknown field only then.
func parseText(text string) (*template.Template, error) {
	parsed, err := template.New("text").Parse(text)
	if err != nil {
		return nil, templateError(err)
	}
	at := time.Date(2025, 1, 15, 10, 30, 0, 0, time.UTC)
	full := Message{
		ID: "ntf_1", Type: tasks.TypeCompleted, At: at,
		Job:   JobDetails{ID: "vid_1", Status: tasks.StatusCompleted, Progress: 100, Prompt: "p", Model: "m", Duration: Seconds(time.Second), Error: "e", ExternalID: "x", Source: "klingai"},
		Media: []MediaDetails{{Name: "video", State: "stored", Object: "vid_1/video.mp4", Size: 1, SHA256: "00", ContentType: "video/mp4"}},
	}
	for _, message := range []Message{full, {ID: "ntf_2", Type: "other", At: at}} {
		if _, err := render(parsed, message); err != nil {
			return nil, templateError(err)
		}
	}
	return parsed, nil
}

// templateError makes an error of text/template readable for an operator.
func templateError(err error) error {
	return fmt.Errorf("cannot be used as a template: %s; docs/configuration.md lists the fields", strings.TrimPrefix(err.Error(), "template: text:"))
}

// render returns the text of a message, or at most its first maxRendered bytes.
func render(parsed *template.Template, message Message) (string, error) {
	var text limitedText
	if err := parsed.Execute(&text, newText(message)); err != nil && !errors.Is(err, errFull) {
		return "", err
	}
	return strings.TrimSpace(strings.ToValidUTF8(text.String(), "")), nil
}

// errFull ends a template that writes too much.
var errFull = errors.New("the text is full")

// limitedText keeps the first maxRendered bytes.
type limitedText struct{ strings.Builder }

func (t *limitedText) Write(p []byte) (int, error) {
	if rest := maxRendered - t.Len(); len(p) > rest {
		n, _ := t.Builder.Write(p[:rest]) // never fails
		return n, errFull
	}
	return t.Builder.Write(p)
}
