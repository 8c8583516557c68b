package notify

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/klinghook/klinghook/tasks"
)

// maxText bounds each free text in a chat message, in runes.
const maxText = 200

// title says in one line what happened.
func title(m Message) string {
	heading := "Event " + clean(m.Type)
	if slices.Contains(tasks.KnownTypes(), m.Type) {
		heading = "Video " + strings.TrimPrefix(m.Type, "video.")
	}
	if m.Job.ID == "" {
		return heading
	}
	return heading + ": " + clean(m.Job.ID)
}

// lines says the rest, a fact each. There is always at least one.
func lines(m Message) []string {
	var ls []string
	add := func(label, value string) {
		if value = clean(value); value != "" {
			ls = append(ls, label+": "+value)
		}
	}
	if note := contradiction(m); note != "" {
		ls = append(ls, note)
	}
	if m.Type == tasks.TypeFailed || m.Job.Status == tasks.StatusFailed {
		add("Error", m.Job.Error)
	}
	if m.Type == tasks.TypeProcessing {
		add("Progress", strconv.Itoa(m.Job.Progress)+" %")
	}
	add("Prompt", m.Job.Prompt)
	add("Model", m.Job.Model)
	if seconds := m.Job.Duration.Seconds(); seconds > 0 {
		add("Duration", strconv.FormatFloat(seconds, 'f', -1, 64)+" s")
	}
	add("External id", m.Job.ExternalID)
	for _, media := range m.Media {
		add(whereIs(media))
	}
	if !m.At.IsZero() {
		add("Time", m.At.UTC().Format("2006-01-02 15:04:05 MST"))
	}
	if len(ls) == 0 {
		add("Event", m.ID)
	}
	return ls
}

// whereIs says where a file can be found: in the bucket, or only at Kling's.
func whereIs(media Media) (label, value string) {
	// An object may be named before its download is done; a hash is only known
	// after.
	if media.Object != "" && media.SHA256 != "" {
		return "Stored", fmt.Sprintf("%s (%s)", media.Object, size(media.Size))
	}
	value = media.URL
	if media.State != "" {
		value = strings.TrimSpace(value + " (" + media.State + ")")
	}
	return "Link to " + media.Name, value
}

// contradiction says how the job stands where the event alone would mislead.
func contradiction(m Message) string {
	status := m.Job.Status
	told := tasks.Status(strings.TrimPrefix(m.Type, "video."))
	if status == "" || told == status || !slices.Contains(tasks.KnownTypes(), m.Type) {
		if m.Job.Contradicted {
			return "Note: other events said that this job ended differently."
		}
		return ""
	}
	switch {
	case told.Terminal() && status.Terminal():
		return fmt.Sprintf("Note: the job stays %s; this event contradicts it.", status)
	case status.Terminal():
		return fmt.Sprintf("Note: this came late; the job is already %s.", status)
	default:
		return fmt.Sprintf("Note: the job stands at %s.", status)
	}
}

// size gives bytes in the unit that reads best.
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

// link is anything that looks like a URL.
var link = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+`)

// clean makes a text from elsewhere fit for one line of chat: no signed links, no
// control characters, at most maxText runes, and nothing that would call people
// or be read as markup.
func clean(text string) string {
	text = link.ReplaceAllStringFunc(text, cutLink)
	text = cut(oneLine(text))
	// A zero-width space after "@" and "<" keeps "@everyone" and "<!channel>" from
	// ringing every phone, and HTML mail from reading tags.
	return strings.NewReplacer("@", "@\u200b", "<", "<\u200b").Replace(text)
}

// oneLine turns runs of white space into single spaces and drops what cannot be
// seen.
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

// cutLink drops what may be secret in a link: user and password, query, fragment.
func cutLink(link string) string {
	scheme, rest, _ := strings.Cut(link, "://")
	if end := strings.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	host, path, hasPath := strings.Cut(rest, "/")
	host = host[strings.LastIndex(host, "@")+1:]
	if hasPath {
		host += "/"
	}
	return scheme + "://" + host + path
}
