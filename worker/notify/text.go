package notify

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/klinghook/klinghook/tasks"
)

// maxText limits each free text in a chat message, in runes.
const maxText = 200

// title returns one line about the event.
func title(message Message) string {
	if message.Title != "" {
		return message.Title
	}
	heading := "Event " + clean(message.Type)
	if slices.Contains(tasks.KnownTypes(), message.Type) {
		heading = "Video " + strings.TrimPrefix(message.Type, "video.")
	}
	if message.Job.ID == "" {
		return heading
	}
	return heading + ": " + clean(tasks.JobKey{Platform: message.Job.Platform, ID: message.Job.ID}.String())
}

// lines returns the details, one per line and at least one.
func lines(message Message) []string {
	if message.Title != "" {
		return []string{message.Text}
	}
	var ls []string
	add := func(label, value string) {
		if value = clean(value); value != "" {
			ls = append(ls, label+": "+value)
		}
	}
	if note := contradiction(message); note != "" {
		ls = append(ls, note)
	}
	if message.Type == tasks.TypeFailed || message.Job.Status == tasks.StatusFailed {
		add("Error", message.Job.Error)
	}
	if message.Type == tasks.TypeProcessing {
		add("Progress", strconv.Itoa(message.Job.Progress)+" %")
	}
	add("Prompt", message.Job.Prompt)
	add("Model", message.Job.Model)
	if seconds := time.Duration(message.Job.Duration).Seconds(); seconds > 0 {
		add("Duration", strconv.FormatFloat(seconds, 'f', -1, 64)+" s")
	}
	for _, cost := range message.Job.Costs {
		add("Cost", cost.String())
	}
	if message.Job.NoMedia {
		add("No media yet", message.Job.NoMediaReason)
	}
	add("External id", message.Job.ExternalID)
	for _, media := range message.Media {
		add(whereIs(media))
	}
	if !message.At.IsZero() {
		add("Time", message.At.UTC().Format("2006-01-02 15:04:05 MST"))
	}
	if len(ls) == 0 {
		add("Event", message.ID)
	}
	return ls
}

// whereIs returns where a file is: in the bucket, or only at Kling.
func whereIs(media MediaDetails) (label, value string) {
	if media.isStored() {
		return "Stored", fmt.Sprintf("%s (%s)", media.Object, size(media.Size))
	}
	value = cutLink(media.URL) // as a whole, because it may have spaces
	if media.State != "" {
		value = strings.TrimSpace(value + " (" + media.State + ")")
	}
	return "Link to " + media.Name, value
}

// isStored reports whether the bucket has the file. The object has a name before its
// download is done, but no hash.
func (m MediaDetails) isStored() bool { return m.Object != "" && m.SHA256 != "" }

// contradiction returns a note if the event alone would mislead about the job.
func contradiction(message Message) string {
	status := message.Job.Status
	said := tasks.Status(strings.TrimPrefix(message.Type, "video."))
	if status == "" || said == status || !slices.Contains(tasks.KnownTypes(), message.Type) {
		if message.Job.Contradicted {
			return "Note: other events said that this job ended differently."
		}
		return ""
	}
	switch {
	case said.Terminal() && status.Terminal():
		return fmt.Sprintf("Note: the job stays %s; this event contradicts it.", status)
	case status.Terminal():
		return fmt.Sprintf("Note: this came late; the job is already %s.", status)
	default:
		return fmt.Sprintf("Note: the job is already %s.", status)
	}
}

// size formats a number of bytes.
func size(bytes int64) string {
	switch {
	case bytes >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
	case bytes >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	case bytes >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
	default:
		return fmt.Sprintf("%d bytes", bytes)
	}
}

var (
	// link matches text like a URL, up to the next space, as quotes may be part of it.
	link = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://\S+`)
	// query matches text like the query of a link, with or without a scheme.
	query = regexp.MustCompile(`[?#]\S*=\S*`)
)

// clean makes an external text safe for one line of chat: without signed links, control
// characters, mentions and markup, and at most maxText runes.
func clean(text string) string {
	text = link.ReplaceAllStringFunc(oneLine(text), cutLink)
	text = cut(query.ReplaceAllString(text, redacted))
	// A zero-width space after "@" and "<" disables "@everyone", "<!channel>" and HTML
	// tags.
	return strings.NewReplacer("@", "@\u200b", "<", "<\u200b").Replace(text)
}

// oneLine turns runs of white space into single spaces and removes invisible
// characters.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

// cut keeps the first maxText runes.
func cut(text string) string {
	if runes := []rune(text); len(runes) > maxText {
		return string(runes[:maxText]) + "…"
	}
	return text
}

// cutLink removes the user, password, query and fragment from a link.
func cutLink(text string) string {
	if end := strings.IndexAny(text, "?#"); end >= 0 {
		text = text[:end]
	}
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return text
	}
	host, path, hasPath := strings.Cut(rest, "/")
	host = host[strings.LastIndex(host, "@")+1:]
	if hasPath { // it may contain another link, after a quote
		host += "/" + link.ReplaceAllStringFunc(path, cutLink)
	}
	return scheme + "://" + host
}
