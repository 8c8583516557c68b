package login

import (
	"cmp"
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

	"github.com/klinghook/klinghook/internal/admin"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("login").Parse(pageHTML))

// pagePolicy allows only the login page's own style and form.
func pagePolicy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

// maxForm is the size limit of the login form, in bytes.
const maxForm = 8 << 10

// ServeHTTP serves Path and LogoutPath.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	admin.Protect(g.cfg.Hosts, pagePolicy(), http.HandlerFunc(g.serve)).ServeHTTP(w, r)
}

func (g *Gate) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch path := strings.TrimPrefix(r.URL.Path, g.cfg.Prefix); {
	case path == Path && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		wanted := r.URL.Query().Get("next")
		if user, err := g.user(r); err == nil && user.Name != "" {
			http.Redirect(w, r, g.next(wanted), http.StatusSeeOther)
			return
		}
		g.showPage(w, r, http.StatusOK, wanted, "")
	case path == Path && r.Method == http.MethodPost:
		g.login(w, r)
	case path == LogoutPath && r.Method == http.MethodPost:
		if err := g.endSession(w, r); err != nil {
			g.unavailable(w, r, err)
			return
		}
		http.Redirect(w, r, g.cfg.Prefix+Path, http.StatusSeeOther)
	default:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// login handles the login form. It counts each attempt before checking it.
func (g *Gate) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		g.showPage(w, r, http.StatusBadRequest, "", "The form could not be read. Try again.")
		return
	}
	next := r.PostForm.Get("next")
	// Tokens, each configured user, and all other names are counted separately.
	who, named := guesser{addr: network(admin.ClientAddr(r, g.cfg.Proxies)), account: "other"}, g.account(r.PostForm.Get("user"))
	user, token := named.User, strings.TrimSpace(r.PostForm.Get("token"))
	if token != "" {
		who.account, user = "token", g.tokenUser(token)
	} else if user.Name != "" {
		who.account = "user " + user.Name
	}
	if wait := g.guesses.count(who); wait > 0 {
		g.throttle(w, r, wait, next, "Too many attempts from your address.")
		return
	}
	select {
	case g.checking <- struct{}{}:
		defer func() { <-g.checking }()
	default:
		g.throttle(w, r, time.Second, next, "Too many logins at once.")
		return
	}
	if token != "" && user.Name == "" || token == "" && !g.isPassword(r, named) {
		g.countRefused(r, "page")
		g.showPage(w, r, http.StatusUnauthorized, next, "Wrong user name, password or token. Try again.")
		return
	}
	if err := g.startSession(w, r, user); err != nil {
		g.unavailable(w, r, err)
		return
	}
	g.guesses.forget(who)
	g.logins.WithLabelValues(outcomeAccepted).Inc()
	g.cfg.Log.Info("logged in", zap.String("user", user.Name), zap.Bool("viewer", user.Viewer), zap.String("peer", r.RemoteAddr))
	http.Redirect(w, r, g.next(next), http.StatusSeeOther)
}

// isPassword checks the form's password. It takes as long for an unknown user, who has no
// account, as for a wrong password.
func (g *Gate) isPassword(r *http.Request, named account) bool {
	if len(g.accounts) == 0 {
		return false
	}
	select {
	case g.hashing <- struct{}{}:
		defer func() { <-g.hashing }()
	case <-r.Context().Done():
		return false
	}
	err := bcrypt.CompareHashAndPassword([]byte(cmp.Or(named.hash, g.accounts[0].hash)), []byte(r.PostForm.Get("password")))
	return err == nil && named.Name != ""
}

// throttle shows a problem and how long the client must wait.
func (g *Gate) throttle(w http.ResponseWriter, r *http.Request, wait time.Duration, next, problem string) {
	g.logins.WithLabelValues(outcomeThrottled).Inc()
	seconds := int(math.Ceil(wait.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	g.showPage(w, r, http.StatusTooManyRequests, next, problem+" Try again in "+(time.Duration(seconds)*time.Second).String()+".")
}

// next returns the page to open after the login: the wanted page if it is below the prefix,
// else the start page.
func (g *Gate) next(wanted string) string {
	home := g.cfg.Prefix + "/"
	u, err := url.Parse(wanted)
	if err != nil || u.IsAbs() || u.Host != "" || strings.Contains(wanted, `\`) || strings.HasPrefix(u.Path, "//") ||
		!strings.HasPrefix(u.Path, home) || u.Path == home+Path[1:] || u.Path == home+LogoutPath[1:] {
		return home
	}
	return u.RequestURI()
}

func (g *Gate) showPage(w http.ResponseWriter, r *http.Request, status int, next, problem string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pageTemplate.Execute(w, map[string]any{ // The client may have gone.
		"Style": template.CSS(pageCSS), "Path": g.cfg.Prefix + Path, "Next": g.next(next), "Problem": problem, "Name": r.PostForm.Get("user"),
		"User": len(g.accounts) > 0, "Token": g.hasTokens(), "HasPage": g.HasPage(),
	})
}
