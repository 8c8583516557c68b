package queues

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// get returns what the handler answers to a GET for path.
func get(handler http.Handler, path string) *answer {
	a := &answer{header: make(http.Header), status: http.StatusOK}
	handler.ServeHTTP(a, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
	return a
}

// answer is an [http.ResponseWriter] that keeps what it is given.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// withoutForeignLinks returns the page without its links to other hosts, which
// are style sheets with fonts. The pages show in the browser's own fonts.
func withoutForeignLinks(page []byte) []byte {
	return regexp.MustCompile(`<link\b[^>]*\bhref="(?:https?:)?//[^>]*>`).ReplaceAll(page, nil)
}

// contentSecurityPolicy lets the pages load what they bring, run the scripts in
// the index page as it is now, and do nothing else. Their styles are made by
// scripts as they run, so none of them is known before.
func contentSecurityPolicy(page []byte) string {
	scripts := []string{"script-src 'self'"}
	for _, inline := range regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(inline[1])
		scripts = append(scripts, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return strings.Join([]string{
		"default-src 'none'", strings.Join(scripts, " "), "style-src 'unsafe-inline'", "img-src 'self' data:",
		"connect-src 'self'", "manifest-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")
}
