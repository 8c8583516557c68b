package notify

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const redacted = "…"

const (
	// What is shorter than minSecret bytes is not looked for: cutting every "id"
	// would leave no error to read.
	minSecret = 3
	// Parts of a token stand alone in some services' errors and API URLs.
	minSecretPart = 6
	// Below minAnywhere a secret is only cut where it is a word of its own, so that
	// Slack's "hook" leaves "webhook" whole.
	minAnywhere = 8
)

// newScrubber returns what makes an error text of the service fit to be logged:
// nothing of its URL but a host remains, links are cut to their host, and the
// whole is one line of bounded length.
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
		text = link.ReplaceAllStringFunc(text, cutToHost)
		if len(patterns) > 0 {
			text = anySecret.ReplaceAllString(text, redacted)
		}
		return cut(oneLine(text))
	}
}

// secrets returns every part of the URL that may be secret, in the forms in which
// an error may show it, the longest first.
func secrets(u *url.URL, service string) []string {
	password, _ := u.User.Password()
	whole := []string{u.User.Username(), password, u.Fragment, u.Opaque}
	whole = append(whole, strings.Split(u.Path, "/")...)
	whole = append(whole, strings.Split(u.EscapedPath(), "/")...)
	for _, values := range u.Query() {
		whole = append(whole, values...)
	}
	public := u.Host
	if !namesHost(service) && u.Host != service { // telegram://token@telegram
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
	// An address such as bot@example.com must not cut the server's own name.
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

// namesHost reports whether the service's URL has a server's name where others
// have a token or an id.
func namesHost(service string) bool {
	switch service {
	case "bark", "generic", "gotify", "lark", "matrix", "mattermost", "ntfy", "opsgenie",
		"pagerduty", "rocketchat", "signal", "smtp", "zulip":
		return true
	default:
		return false
	}
}

// cutToHost keeps of a web link which server it is on, and of other URLs only
// their scheme: many services have their token where a host belongs.
func cutToHost(link string) string {
	scheme, _, _ := strings.Cut(link, "://")
	if scheme != "http" && scheme != "https" {
		return scheme + "://" + redacted
	}
	u, err := url.Parse(link)
	switch {
	case err != nil:
		return scheme + "://" + redacted
	case strings.Trim(u.Path, "/") == "" && u.RawQuery == "":
		return scheme + "://" + u.Host
	default:
		return scheme + "://" + u.Host + "/" + redacted
	}
}
