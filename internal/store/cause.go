package store

import (
	"regexp"
	"strings"
)

// maxCause is the maximum length of a cause in bytes.
const maxCause = 200

// varying lists patterns for the parts of an error that differ between failures with the
// same cause, and their replacements.
var varying = []struct {
	part *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`"(?:[^"\\]|\\.)*"`), `"…"`},
	{regexp.MustCompile(`\b[a-z][a-z0-9+]*://[^\s"]*[^\s":;,]`), "<link>"},
	{regexp.MustCompile(`\S+\.(?:mp4|mov|webm|jpe?g|png|webp|gif|mp3|wav|m4a|zip|bin)\b`), "<file>"},
	{regexp.MustCompile(`\[[0-9a-f]*:[0-9a-f:.]*\](?::\d+)?|\b\d+\.\d+\.\d+\.\d+(?::\d+)?`), "<address>"},
	{regexp.MustCompile(`\b(?:\d+(?:\.\d+)?(?:ns|µs|ms|s|m|h))+\b`), "<time>"},
}

// numbered matches words with digits. After the first group they belong to the cause, such
// as a status code.
var numbered = regexp.MustCompile(`(\b(?:answered|code|status) )?[\w:-]*\d[\w:-]*`)

// causeOf returns a dead letter's error without ids, names, links and numbers, which is the
// same for all tasks that failed for the same reason.
func causeOf(letter DeadLetter) string {
	text, _, _ := strings.Cut(storable(letter.Error), "\n")
	start := ""
	if destination, rest, found := strings.Cut(text, ": "); found && strings.HasPrefix(destination, "notify ") {
		start, text = destination+": ", rest // the name of a destination belongs to the cause
	}
	for _, own := range []string{letter.Job.String(), letter.Job.ID, letter.EventID} {
		if own != "" {
			text = strings.ReplaceAll(text, own, "<id>")
		}
	}
	for _, v := range varying {
		text = v.part.ReplaceAllString(text, v.with)
	}
	text = numbered.ReplaceAllStringFunc(text, func(word string) string {
		switch {
		case strings.Contains(word, " "):
			return word
		case strings.Trim(word, "0123456789") == "":
			return "<n>"
		}
		return "<id>"
	})
	text = start + text
	if len(text) > maxCause {
		text = strings.ToValidUTF8(text[:maxCause], "") + "…"
	}
	return text
}
