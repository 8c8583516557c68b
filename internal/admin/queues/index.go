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

// ownStyle fits the pages to the screen. In lists of tasks long ids, errors and payloads
// are broken, which else push the buttons off it, and the columns of those are the wide
// ones, the second, fourth and sixth. A task's own page, whose payload is as wide as
// its longest line, is broken likewise. Scrollbars are there where there is something
// to scroll, and fit the light and the dark theme, as our button does.
const ownStyle = `<style>` +
	`.MuiTableCell-sizeSmall:not(.MuiTableCell-paddingCheckbox){padding:6px 8px}` +
	`.MuiTableCell-paddingCheckbox~.MuiTableCell-body{overflow-wrap:anywhere;min-width:5em}` +
	`.MuiTableCell-paddingCheckbox~.MuiTableCell-body:nth-child(2n):not(:nth-child(n+7)){min-width:12.5em}` +
	`.MuiTableCell-paddingCheckbox~.MuiTableCell-body:nth-child(3){min-width:10em}` +
	`.MuiTableCell-paddingCheckbox~.MuiTableCell-body:last-child{min-width:4em}` +
	`main pre code{white-space:pre-wrap!important;overflow-wrap:anywhere}` +
	`main h6+p{overflow-wrap:anywhere}main h6:has(+p){flex-shrink:9}main div:has(>pre){min-width:0}main .MuiBreadcrumbs-li,main .MuiChip-root{max-width:100%}` +
	`main>div{overflow:auto!important}*{scrollbar-color:#888 transparent}` +
	`@media (max-width:700px){` + narrowStyle + `}` +
	touchStyle +
	`#logout{position:fixed;top:15px;right:16px;z-index:1300;margin:0}` +
	`#logout button{font:inherit;padding:6px 12px;border:0;border-radius:4px;background:#2f55d4;color:#fff;cursor:pointer}` +
	`</style>`

// narrowStyle is for a narrow screen, on which what stands side by side goes one below
// the other. So does a task in a list: what would be a row is a block of lines, with
// its buttons last. Without the columns' names above them, two numbers that say nothing
// by themselves get theirs.
const narrowStyle = `.MuiGrid-grid-xs-6{max-width:100%!important;flex-basis:100%!important}` +
	`main .MuiGrid-item>div:has(>div>.MuiTypography-gutterBottom),main .MuiPaper-root>div:has(>p+div>.MuiChip-root){flex-wrap:wrap}` +
	`main table:has(.MuiTableCell-paddingCheckbox){min-width:0!important}` +
	`main table:has(.MuiTableCell-paddingCheckbox),main table:has(.MuiTableCell-paddingCheckbox) :is(thead,tbody,tfoot){display:block}` +
	`main thead:has(.MuiTableCell-paddingCheckbox) th:not(.MuiTableCell-paddingCheckbox){display:none}` +
	`main tbody tr:has(>.MuiTableCell-paddingCheckbox){display:grid;grid-template-columns:48px minmax(0,1fr);align-items:center;padding:8px 0;border-bottom:1px solid #8886}` +
	`main tbody tr:has(>.MuiTableCell-paddingCheckbox)>.MuiTableCell-body{grid-column:1/3;width:auto!important;min-width:0!important;border:0;padding:2px 12px;text-align:left}` +
	`main tbody tr:has(>.MuiTableCell-paddingCheckbox)>.MuiTableCell-body:nth-child(-n+2){grid-column:auto}` +
	`main tbody .MuiTableCell-paddingCheckbox~.MuiTableCell-alignRight::before{content:"Max Retry: "}` +
	`main tbody .MuiTableCell-paddingCheckbox~.MuiTableCell-alignRight:has(+.MuiTableCell-alignRight)::before{content:"Retried: "}` +
	`main .MuiTablePagination-root{display:block}main .MuiTablePagination-toolbar{flex-wrap:wrap;padding-left:8px}main .MuiTablePagination-spacer{display:none}` +
	narrowQueues

// narrowQueues does the same to the list of queues: a queue is a block of two columns,
// whose numbers have the columns' names. It cannot be sorted there.
const narrowQueues = `main table[aria-label="queues overview table"]{display:block;min-width:0!important;` +
	`& thead{display:none}& tbody{display:block}` +
	`& tr{display:grid;grid-template-columns:1fr 1fr;align-items:center;padding:8px 0;border-bottom:1px solid #8886}` +
	`& tr>*{position:static;border:0;padding:2px 12px;text-align:left;overflow-wrap:anywhere}` +
	`& td:nth-child(3)::before{content:"Size: "}& td:nth-child(4)::before{content:"Memory usage: "}` +
	`& td:nth-child(5)::before{content:"Latency: "}& td:nth-child(6)::before{content:"Processed: "}` +
	`& td:nth-child(7)::before{content:"Failed: "}& td:nth-child(8)::before{content:"Error rate: "}}`

// touchStyle is for fingers. A list shows the buttons of a row, of which the first
// deletes, in the place of the one with three dots when something hovers over it. A
// finger hovers and presses at once, and would press what it has not seen: they can be
// pressed half a second later.
const touchStyle = `@media (hover:none) and (pointer:coarse){main td button:is([title],[aria-describedby]){animation:settle .5s}}@keyframes settle{from,to{visibility:hidden}}`

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
