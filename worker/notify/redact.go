package notify

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const redacted = "…"

const (
	// Secrets shorter than minSecret bytes are ignored: removing every "id" would make
	// errors unreadable.
	minSecret = 3
	// Parts of a token, which some errors and API URLs show, are removed from this length on.
	minSecretPart = 6
	// Secrets shorter than minAnywhere are only removed as whole words, so that
	// Slack's "hook" does not change "webhook".
	minAnywhere = 8
)

// newScrubber returns a function that makes the service's errors safe to log. It removes
// every part of the URL except a host, cuts links to their host, and returns one line of
// limited length.
func newScrubber(u *url.URL, service string) func(string) string {
	var patterns []string
	for _, secret := range secrets(u, service) {
		pattern := regexp.QuoteMeta(secret)
		if len(secret) < minAnywhere && wholeWord.MatchString(secret) {
			pattern = `\b` + pattern + `\b`
		}
		patterns = append(patterns, pattern)
	}
	anySecret := regexp.MustCompile(strings.Join(patterns, "|"))
	return func(text string) string {
		text = query.ReplaceAllString(link.ReplaceAllStringFunc(text, cutToHost), redacted)
		if len(patterns) > 0 {
			text = anySecret.ReplaceAllString(text, redacted)
		}
		return cut(oneLine(text))
	}
}

// secrets returns every part of the URL that may be secret, in every form that an
// error may show, the longest first.
func secrets(u *url.URL, service string) []string {
	password, _ := u.User.Password()
	whole := []string{u.User.Username(), password, u.Fragment, u.Opaque}
	whole = append(whole, strings.Split(u.Path, "/")...)
	whole = append(whole, strings.Split(u.EscapedPath(), "/")...)
	for _, values := range u.Query() {
		whole = append(whole, values...)
	}
	public := u.Host
	if !services[service].server && u.Host != service { // telegram://token@telegram
		whole, public = append(whole, u.Host, u.Hostname()), ""
	}
	var found []string
	for _, secret := range whole {
		found = append(found, secret, url.QueryEscape(secret), url.PathEscape(secret))
		for _, part := range tokenParts.FindAllString(secret, -1) {
			if len(part) >= minSecretPart {
				found = append(found, part)
			}
		}
	}
	// An address such as bot@example.com must not remove the server's own name.
	found = slices.DeleteFunc(found, func(s string) bool {
		return len(s) < minSecret || strings.Contains(public, s)
	})
	slices.SortFunc(found, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(found)
}

var (
	tokenParts = regexp.MustCompile(`[A-Za-z0-9_]+`)
	wholeWord  = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
)

// cutToHost shortens a web link to its server, and other URLs to their scheme: many
// services have a token instead of a host. Punctuation after the link stays.
func cutToHost(text string) string {
	link := strings.TrimRight(text, `"'<>()[]{},;:.`)
	end := text[len(link):]
	scheme, _, _ := strings.Cut(link, "://")
	u, err := url.Parse(link)
	switch {
	case err != nil, scheme != "http" && scheme != "https":
		return scheme + "://" + redacted + end
	case strings.Trim(u.Path, "/") == "" && u.RawQuery == "":
		return scheme + "://" + u.Host + end
	default:
		return scheme + "://" + u.Host + "/" + redacted + end
	}
}
