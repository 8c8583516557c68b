package login

import (
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// page is what page.html shows.
type page struct {
	Style     template.CSS
	Path      string
	Next      string
	Trouble   string
	User      bool
	Token     bool
	ProxyOnly bool
}

// policy lets the login page show its style, send its form, and do nothing else.
func policy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

// maxForm is far more than any login needs, in bytes.
const maxForm = 8 << 10

// ServeHTTP answers at Path and LogoutPath.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.cfg.Guard.Protect(policy(), http.HandlerFunc(g.serve)).ServeHTTP(w, r)
}

func (g *Gate) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case r.URL.Path == Path && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		if _, ok := g.who(r); ok {
			http.Redirect(w, r, g.next(r.URL.Query().Get("next")), http.StatusSeeOther)
			return
		}
		g.show(w, http.StatusOK, r.URL.Query().Get("next"), "")
	case r.URL.Path == Path && r.Method == http.MethodPost:
		g.login(w, r)
	case r.URL.Path == LogoutPath && r.Method == http.MethodPost:
		g.sessions.end(w, r)
		http.Redirect(w, r, Path, http.StatusSeeOther)
	default:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// login looks at what was filled in.
func (g *Gate) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		g.show(w, http.StatusBadRequest, "", "That could not be read. Try again.")
		return
	}
	next := r.PostForm.Get("next")
	if wait := g.throttle.wait(peerOf(r)); wait > 0 {
		g.logins.WithLabelValues(outcomeThrottled).Inc()
		seconds := int(math.Ceil(wait.Seconds()))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		g.show(w, http.StatusTooManyRequests, next, "Too many wrong logins from your address. Try again in "+(time.Duration(seconds)*time.Second).String()+".")
		return
	}
	who, ok := g.check(r)
	if !ok {
		g.noteFailure(r, "page")
		g.show(w, http.StatusUnauthorized, next, "That is not right. Try again.")
		return
	}
	g.logins.WithLabelValues(outcomeAccepted).Inc()
	g.cfg.Log.Info("logged in", zap.String("user", who), zap.String("peer", r.RemoteAddr))
	g.sessions.begin(w, r, who)
	http.Redirect(w, r, g.next(next), http.StatusSeeOther)
}

// check returns who the filled-in form is of. What is wrong of it takes as long to
// find out as that all is right.
func (g *Gate) check(r *http.Request) (who string, ok bool) {
	if token := r.PostForm.Get("token"); token != "" {
		return "token", g.isToken(strings.TrimSpace(token))
	}
	if g.cfg.User == "" {
		return "", false
	}
	select {
	case g.hashing <- struct{}{}:
		defer func() { <-g.hashing }()
	case <-r.Context().Done():
		return "", false
	}
	err := bcrypt.CompareHashAndPassword([]byte(g.cfg.PasswordHash), []byte(r.PostForm.Get("password")))
	isUser := same(r.PostForm.Get("user"), g.cfg.User) == 1
	return g.cfg.User, err == nil && isUser
}

// noteFailure counts and logs a wrong login. What was given may be a password with a
// typing error, or one in the field for the user, so nothing of it is told.
func (g *Gate) noteFailure(r *http.Request, by string) {
	g.throttle.failed(peerOf(r))
	g.logins.WithLabelValues(outcomeRefused).Inc()
	g.refusedLog.Warn("login refused", zap.String("by", by), zap.String("peer", r.RemoteAddr))
}

// next is where a browser goes that has logged in: where it wanted to, within Home.
func (g *Gate) next(wanted string) string {
	u, err := url.Parse(wanted)
	if err != nil || u.IsAbs() || u.Host != "" || strings.ContainsAny(wanted, "\\") ||
		u.Path != g.cfg.Home && !strings.HasPrefix(u.Path, g.cfg.Home+"/") {
		return g.cfg.Home
	}
	return u.RequestURI()
}

func (g *Gate) show(w http.ResponseWriter, status int, next, trouble string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	// It is parsed each time, which is seldom and takes microseconds. The asker may
	// have gone; then there is nobody to tell.
	_ = template.Must(template.New("login").Parse(pageHTML)).Execute(w, page{
		Style: template.CSS(pageCSS), Path: Path, Next: g.next(next), Trouble: trouble,
		User: g.cfg.User != "", Token: len(g.cfg.Tokens) > 0, ProxyOnly: !g.hasPage(),
	})
}
