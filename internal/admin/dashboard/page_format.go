package dashboard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// functions are the functions of the templates.
func (p *pages) functions() template.FuncMap {
	return template.FuncMap{
		"path": func(to string) string { return p.prefix + to },
		"job": func(job tasks.JobKey, below ...string) string {
			return p.prefix + jobPath(job, strings.Join(below, ""))
		},
		"failures": func(job tasks.JobKey) string { return p.prefix + failuresOf(job).path() },
		"asset":    func(name string) string { return p.prefix + "/assets/" + name + "?v=" + p.versions[name] },
		"text":     plain,
		"clip":     clip,
		"ago":      func(t time.Time) string { return ago(time.Since(t)) },
		"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"at":       func(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04:05 UTC") },
		"length":   length,
		"took":     took,
		"size":     size,
		"count":    count,
		"title":    title,
		"source":   sourceName,
		"reason":   reasonName,
		"part":     func(pairs ...any) map[string]any { return part(pairs) },
	}
}

// queryOf returns the values that are not empty.
func queryOf(values map[string]string) url.Values {
	query := url.Values{}
	for name, value := range values {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

// jobPath returns the escaped path of a job or, with a suffix, of something below it.
func jobPath(job tasks.JobKey, below string) string {
	at := "/jobs/" + url.PathEscape(job.ID) + below
	if job.Platform != tasks.PlatformKling {
		at += "?platform=" + url.QueryEscape(job.Platform)
	}
	return at
}

// jobOf returns the job that a path made by jobPath names.
func jobOf(r *http.Request) tasks.JobKey {
	return tasks.JobKey{Platform: cmp.Or(r.URL.Query().Get("platform"), tasks.PlatformKling), ID: r.PathValue("id")}
}

// withValue adds a value to the query of a path.
func withValue(at, name, value string) string {
	separator := "?"
	if strings.Contains(at, "?") {
		separator = "&"
	}
	return at + separator + name + "=" + url.QueryEscape(value)
}

// part returns template arguments from alternating names and values.
func part(pairs []any) map[string]any {
	arguments := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		arguments[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return arguments
}

// plain replaces characters that can change how other text looks: control characters and
// marks that change the writing direction. It keeps line breaks and tabs.
func plain(text any) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case unicode.IsControl(r), '\u2028' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069':
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(fmt.Sprint(text), "\uFFFD"))
}

// clip is like plain, but keeps at most n characters.
func clip(n int, text any) string {
	runes := []rune(plain(text))
	if len(runes) <= n {
		return string(runes)
	}
	return string(runes[:n]) + cut
}

// ago returns an age in its largest unit.
func ago(age time.Duration) string {
	switch {
	case age < 5*time.Second:
		return "just now"
	case age < time.Minute:
		return fmt.Sprintf("%d s ago", int(age.Seconds()))
	case age < time.Hour:
		return fmt.Sprintf("%d min ago", int(age.Minutes()))
	case age < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(age.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(age.Hours()/24))
}

// length returns the length of a video: "0:05".
func length(d time.Duration) string {
	seconds := int(d.Round(time.Second).Seconds())
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

// took returns how long something took, in at most two units.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "< 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// size returns a number of bytes.
func size(bytes int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	value, unit := float64(bytes), 0
	for value >= 1000 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// count returns a whole number with commas: "12,345".
func count(n any) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// title returns a text with its first letter capitalized.
func title(word any) string {
	first, size := utf8.DecodeRuneInString(fmt.Sprint(word))
	return strings.ToUpper(string(first)) + fmt.Sprint(word)[size:]
}

// sourceNames are the pages' names for the sources of events.
var sourceNames = map[string]string{
	"klingai":           "webhook",
	"klingai-official":  "callback",
	source.CallbackName: "unsigned callback",
	tasks.SourceLookup:  "look-up",
}

// sourceName returns the pages' name for a source.
func sourceName(name string) string {
	if words, known := sourceNames[name]; known {
		return words
	}
	return name
}

// pretty returns the JSON of an event indented and without secrets. Other text stays as
// it is, without secrets.
func pretty(body []byte) string {
	value, ok := parse(string(body))
	if !ok {
		return withoutLinkSecrets(string(body))
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // keeps links readable
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(withoutSecrets(value)); err != nil {
		return withoutLinkSecrets(string(body))
	}
	return strings.TrimSuffix(out.String(), "\n")
}
