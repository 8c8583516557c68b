package dashboard

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

	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/admin"
)

// NewQueues returns asynq's pages. Read-only ones forbid all changes.
func NewQueues(cfg Config, readOnly bool) http.Handler {
	root := cfg.Prefix + admin.QueuesPath
	monitor := asynqmon.New(asynqmon.Options{
		RootPath:         root,
		RedisConnOpt:     client{cfg.Redis},
		PayloadFormatter: asynqmon.PayloadFormatterFunc(format),
		ResultFormatter:  asynqmon.ResultFormatterFunc(format),
		ReadOnly:         readOnly,
	})
	index := indexPage(monitor, cfg.Prefix, cfg.LogoutPath)
	return admin.Protect(cfg.Hosts, pagePolicy(index), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Scripts show every page, so all page loads get the same HTML.
		if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(index) // The browser may have gone.
			return
		}
		monitor.ServeHTTP(w, r)
	}))
}

// client passes an existing Redis client to asynqmon, because asynq's options lack ACL
// users. It implements [asynq.RedisConnOpt].
type client struct{ rdb redis.UniversalClient }

// MakeRedisClient implements [asynq.RedisConnOpt].
func (c client) MakeRedisClient() any { return c.rdb }

// Links to other hosts load fonts; the policy would block them. Browsers request the
// manifest without cookies, so the login would refuse it.
var unwantedLinks = regexp.MustCompile(`<link\b[^>]*\bhref="(?:https?:)?//[^>]*>|<link rel="manifest"[^>]*>`)

// wide makes phones show the pages in this width, zoomed out. asynqmon's charts do not fit
// a narrower one.
var (
	viewport = regexp.MustCompile(`<meta name="viewport"[^>]*>`)
	wide     = []byte(`<meta name="viewport" content="width=1200">`)
)

// corner is for the empty top right corner of the pages.
const corner = `<style>#corner{position:fixed;top:18px;right:16px;z-index:9999;display:flex;gap:12px}#corner form{margin:0}</style>` +
	`<div id="corner"><a href="%s">← Jobs</a>%s</div></body>`

const logoutForm = `<form method="post" action="%s"><button>Log out</button></form>`

// indexPage returns asynqmon's HTML page without unwanted links, for wide screens, and
// with a link to the jobs and a logout button.
func indexPage(monitor http.Handler, prefix, logoutPath string) []byte {
	page := recorder{header: make(http.Header)}
	monitor.ServeHTTP(&page, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: prefix + admin.QueuesPath + "/"}})
	index := viewport.ReplaceAll(unwantedLinks.ReplaceAll(page.Bytes(), nil), wide)
	logout := ""
	if logoutPath != "" {
		logout = fmt.Sprintf(logoutForm, html.EscapeString(logoutPath))
	}
	return bytes.Replace(index, []byte("</body>"), fmt.Appendf(nil, corner, html.EscapeString(prefix+"/"), logout), 1)
}

// recorder is an [http.ResponseWriter] that records the response.
type recorder struct {
	bytes.Buffer
	header http.Header
	status int // 0 if it was not written
}

// Header implements [http.ResponseWriter].
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) { r.status = status }

// inlineScripts are the scripts within a page.
var inlineScripts = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// pagePolicy allows only the page's own files, inline scripts and form, and styles made by
// scripts.
func pagePolicy(index []byte) string {
	scripts := "script-src 'self'"
	for _, inline := range inlineScripts.FindAllSubmatch(index, -1) {
		sum := sha256.Sum256(inline[1])
		scripts += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; " + scripts + "; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}
