package queues

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
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

// beforeScripts is what the page gets before its own scripts: on a phone the menu,
// which covers half of it, begins closed. The pages keep what the user chooses after
// that where this looks for it.
const beforeScripts = `<script>if(matchMedia("(max-width: 700px)").matches&&!localStorage.getItem("asynqmon:state"))` +
	`localStorage.setItem("asynqmon:state",'{"settings":{"isDrawerOpen":false}}')</script>`

// ownStyle breaks long ids and errors, which else push the rest off the screen, sets
// the charts of a narrow screen one below the other, and colours our button so that it
// can be read in the pages' light and dark theme.
const ownStyle = `<style>` +
	`.MuiTableCell-body{overflow-wrap:anywhere;min-width:8em}.MuiTableCell-paddingCheckbox{min-width:0}.MuiTableCell-paddingCheckbox+.MuiTableCell-body{min-width:16em}` +
	`@media (max-width:700px){.MuiGrid-grid-xs-6{max-width:100%!important;flex-basis:100%!important}}` +
	`#logout{position:fixed;top:15px;right:16px;z-index:1300;margin:0}` +
	`#logout button{font:inherit;padding:6px 12px;border:0;border-radius:4px;background:#2f55d4;color:#fff;cursor:pointer}` +
	`</style>`

// logoutButton is a button in the corner that the pages leave free.
const logoutButton = `<form id="logout" method="post" action="%s"><button>Log out</button></form>`

// ownIndex returns asynqmon's page with what is ours, and without its links to other
// hosts, which are style sheets with fonts: it shows in the browser's own. The link to
// its manifest goes too, which browsers ask for without being logged in.
func ownIndex(page []byte, logoutPath string) []byte {
	page = regexp.MustCompile(`<link\b[^>]*\bhref="(?:https?:)?//[^>]*>|<link rel="manifest"[^>]*>`).ReplaceAll(page, nil)
	page = bytes.Replace(page, []byte("<script>"), []byte(ownStyle+beforeScripts+"<script>"), 1)
	if logoutPath != "" {
		page = bytes.Replace(page, []byte(`<div id="root">`), fmt.Appendf(nil, logoutButton+`<div id="root">`, html.EscapeString(logoutPath)), 1)
	}
	return page
}

// contentSecurityPolicy lets the page load what it brings, run the scripts that it
// has, send its form if it has one, and do nothing else. Its styles are made by
// scripts as they run, so none of them is known before.
func contentSecurityPolicy(page []byte, hasForm bool) string {
	scripts := []string{"script-src 'self'"}
	for _, inline := range regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(inline[1])
		scripts = append(scripts, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	forms := "form-action 'none'"
	if hasForm {
		forms = "form-action 'self'"
	}
	return strings.Join([]string{
		"default-src 'none'", strings.Join(scripts, " "), "style-src 'unsafe-inline'", "img-src 'self' data:",
		"connect-src 'self'", "base-uri 'none'", forms, "frame-ancestors 'none'",
	}, "; ")
}
