package dashboard

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/admin/login"
	"github.com/klinghook/klinghook/internal/store"
)

// pagesPolicy allows only the pages' own files and forms.
const pagesPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// assets are served below /assets/.
//
//go:embed assets
var assets embed.FS

// templates has one file per page, which defines "main", and the files that all share.
//
//go:embed templates
var templates embed.FS

// sharedTemplates are the files that each page may use.
var sharedTemplates = []string{"templates/layout.html", "templates/parts.html"}

// view is what a page shows.
type view struct {
	// Name is the page's file of templates, without ".html".
	Name string
	// Title is the page's title; Section is the path of its entry in the navigation.
	Title, Section string
	// Data is for the page's own template.
	Data any
	// Status is the HTTP status. Default: 200.
	Status int
}

// pages renders the pages' templates.
type pages struct {
	prefix string
	// parsed are the templates by page name; versions are hashes of the assets by name.
	parsed   map[string]*template.Template
	versions map[string]string
}

func newPages(prefix string) *pages {
	p := &pages{prefix: prefix, parsed: map[string]*template.Template{}, versions: map[string]string{}}
	files, _ := assets.ReadDir("assets") // embedded
	for _, file := range files {
		content, _ := assets.ReadFile("assets/" + file.Name())
		sum := sha256.Sum256(content)
		p.versions[file.Name()] = hex.EncodeToString(sum[:6])
	}
	shared := template.Must(template.New("").Funcs(p.functions()).ParseFS(templates, sharedTemplates...))
	files, _ = templates.ReadDir("templates")
	for _, file := range files {
		name := file.Name()
		p.parsed[name[:len(name)-len(path.Ext(name))]] = template.Must(template.Must(shared.Clone()).ParseFS(templates, "templates/"+name))
	}
	return p
}

// routePages serves the pages and their assets.
func (d *dashboard) routePages(mux *http.ServeMux) {
	d.routePage(mux, "GET", "/assets/{name}", d.serveAsset)
	d.routePage(mux, "GET", "/{$}", d.serveJobs)
	d.routePage(mux, "GET", "/cards", d.serveCards)
	d.routePage(mux, "POST", "/sample", d.changes(d.makeSample))
	d.routeJob(mux)
	d.routePage(mux, "", "/", d.showNotFound)
}

// routePage serves a page at a path below the prefix, for one method or, if that is
// empty, for all.
func (d *dashboard) routePage(mux *http.ServeMux, method, at string, handler http.HandlerFunc) {
	pattern := d.cfg.Prefix + at
	if method != "" {
		pattern = method + " " + pattern
	}
	mux.Handle(pattern, admin.Protect(d.cfg.Hosts, pagesPolicy, handler))
}

// serveAsset serves a style or a script. Its link contains its version.
func (d *dashboard) serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	version, known := d.pages.versions[name]
	if !known {
		d.showNotFound(w, r)
		return
	}
	if r.URL.Query().Get("v") == version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeFileFS(w, r, assets, "assets/"+name)
}

// show renders a page.
func (d *dashboard) show(w http.ResponseWriter, r *http.Request, v view) {
	if err := d.render(w, v.Name, v.Status, piece{"layout", d.layout(r, v)}); err != nil {
		d.cfg.Log.Error("page not rendered", zap.String("path", r.URL.Path), zap.Error(err))
		http.Error(w, "The page could not be rendered. The log of klinghook admin says why.", http.StatusInternalServerError)
	}
}

// showPart renders one template of a page and the count of failures, for scripts.
func (d *dashboard) showPart(w http.ResponseWriter, r *http.Request, page, name string, data any) {
	if err := d.render(w, page, http.StatusOK, piece{name, data}, piece{"nav-failures", d.openFailures(r)}); err != nil {
		d.showError(w, r, err)
	}
}

// piece is a template of a page, with its data.
type piece struct {
	name string
	data any
}

// render sends pieces of a page, complete or not at all. Status 0 is 200.
func (d *dashboard) render(w http.ResponseWriter, page string, status int, pieces ...piece) error {
	var out bytes.Buffer
	for _, p := range pieces {
		if err := d.pages.parsed[page].ExecuteTemplate(&out, p.name, p.data); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(cmp.Or(status, http.StatusOK))
	_, _ = w.Write(out.Bytes()) // The browser may have gone.
	return nil
}

// layout is the data of the template "layout" and, within a page, $.
type layout struct {
	view
	Sections []section
	// Failures counts the open failures.
	Failures int
	// CanAct reports that the user may change something.
	CanAct     bool
	LogoutPath string
	Version    string
	// Notice says what the last form did; empty if none was sent.
	Notice string
}

// section is an entry of the navigation.
type section struct{ Path, Name string }

func (d *dashboard) layout(r *http.Request, v view) layout {
	return layout{
		Failures: d.openFailures(r),
		view:     v, CanAct: d.canAct(r), LogoutPath: d.cfg.LogoutPath, Version: d.cfg.Version, Notice: noticeOf(r.URL.Query()),
		Sections: []section{{"/", "Jobs"}, {"/failures", "Failures"}, {"/rejections", "Refused"}, {"/health", "Health"}, {admin.QueuesPath, "Tasks"}},
	}
}

// openFailures counts the open failures. The page itself reports a missing database.
func (d *dashboard) openFailures(r *http.Request) int {
	open, _, err := d.cfg.Store.CountOpenDeadLetters(r.Context())
	if err != nil {
		return 0
	}
	return open
}

// canAct reports whether the user of a request may change something.
func (d *dashboard) canAct(r *http.Request) bool { return !login.UserOf(r.Context()).Viewer }

// changes serves a form for users who may change something. Others get a page with 403.
func (d *dashboard) changes(form http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !d.canAct(r) {
			d.showProblem(w, r, http.StatusForbidden, "Read-only access", "Your account cannot change anything. Ask an operator.")
			return
		}
		form(w, r)
	}
}

// showNotFound shows that there is no such page.
func (d *dashboard) showNotFound(w http.ResponseWriter, r *http.Request) {
	d.showProblem(w, r, http.StatusNotFound, "Page not found", "There is nothing at this address.")
}

// showError shows an error of a handler, as problemOf describes it.
func (d *dashboard) showError(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, store.ErrNotFound) {
		d.showNotFound(w, r)
		return
	}
	problem := d.problemOf(err)
	d.showProblem(w, r, problem.Status, "That did not work", title(problem.Detail)+".")
}

// problemPage is the data of a page with a problem. Back is the path to go back to.
type problemPage struct{ Text, Back, BackName string }

// showProblem shows a page with a title and a sentence.
func (d *dashboard) showProblem(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	back, name := d.backFrom(r, status)
	d.show(w, r, view{Name: "problem", Title: title, Status: status, Data: problemPage{text, back, name}})
}

// backFrom returns the path and the name of the page that a request came from.
func (d *dashboard) backFrom(r *http.Request, status int) (at, name string) {
	at = strings.TrimPrefix(r.URL.Path, d.cfg.Prefix)
	gone := status == http.StatusNotFound || status == http.StatusGone
	switch {
	case strings.HasPrefix(at, "/failures"):
		query := readFailureQuery(r.PostForm)
		query.Until = ""
		if _, err := query.filter(time.Now()); err != nil {
			query = failureQuery{}
		}
		return query.path(), "failures"
	case strings.HasPrefix(at, "/rejections"):
		return "/rejections", "refused deliveries"
	case strings.HasPrefix(at, "/jobs/") && r.Method == http.MethodPost && !gone:
		return jobPath(jobOf(r), ""), "the job"
	}
	return "/", "jobs"
}

// notices are the texts of a page after a form was sent, by the name in its link: for one
// thing and, if needed, for %d things.
var notices = map[string][2]string{
	"refresh":  {"Kling will be asked about this job.", ""},
	"download": {"1 download was queued.", "%d downloads were queued."},
	"notify":   {"1 notification was queued.", "%d notifications were queued."},
	"replay":   {"1 task was queued again.", "%d tasks were queued again."},
	"discard":  {"1 failure was discarded.", "%d failures were discarded."},
	"erase":    {"The job was erased.", ""},
	"sample":   {"A sample job is on its way.", ""},
}

// goTo redirects to an escaped path below the prefix, which may have a query. The page
// shows a notice about n things.
func (d *dashboard) goTo(w http.ResponseWriter, r *http.Request, to, notice string, n int) {
	http.Redirect(w, r, d.cfg.Prefix+withValue(withValue(to, "done", notice), "n", strconv.Itoa(n)), http.StatusSeeOther)
}

// noticeOf returns the notice that a page's query asks for.
func noticeOf(query url.Values) string {
	texts := notices[query.Get("done")]
	n, err := strconv.Atoi(query.Get("n"))
	if err != nil || n == 1 || texts[1] == "" {
		return texts[0]
	}
	return strings.ReplaceAll(texts[1], "%d", count(n))
}
