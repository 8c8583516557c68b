package media

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// ErrMalformedLink reports that a link is not the URL of a file. A fresh link may be.
var ErrMalformedLink = errors.New("malformed link")

// authority matches a link up to its path.
var authority = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*:)?(//[^/?#\\]*)?`)

// bareEscape matches a % that starts no escape.
var bareEscape = regexp.MustCompile(`%($|[^0-9a-fA-F]|[0-9a-fA-F]($|[^0-9a-fA-F]))`)

// parseLink parses a link as browsers do: it drops white space around it and line breaks
// in it, and escapes characters that a path or query may not contain. A redirect's link may
// be relative to base. Errors do not quote the link, which may contain a password.
func parseLink(base *url.URL, link string) (*url.URL, error) {
	link = strings.TrimFunc(link, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	link = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(link)
	link, _, _ = strings.Cut(link, "#")
	start := authority.FindString(link)
	path, query, asks := strings.Cut(link[len(start):], "?")
	path = strings.ReplaceAll(path, `\`, "/")
	for bareEscape.MatchString(path) {
		path = bareEscape.ReplaceAllString(path, "%25$1")
	}
	link = start + escape(path, "\"<>`^{|}")
	if asks {
		link += "?" + escape(query, "\"<>'")
	}
	u, err := url.Parse(link)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not a URL", ErrMalformedLink)
	}
	if base != nil {
		u = base.ResolveReference(u)
	}
	return u, nil
}

// escape escapes spaces, control characters, bytes beyond ASCII and these characters.
func escape(s, chars string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(chars, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
