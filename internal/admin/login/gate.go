package login

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/klinghook/klinghook/internal/admin/guard"
)

// Where the gate answers itself.
const (
	// Path is where the login page is.
	Path = "/login"
	// LogoutPath takes the POST that ends a session.
	LogoutPath = "/logout"
)

// Config is what a Gate is made of. Each way to log in is off where its field is
// empty.
type Config struct {
	// User and PasswordHash, which is bcrypt's, go together.
	User, PasswordHash string
	// Tokens are bearer tokens, any of which will do. Nobody can guess them: the
	// settings see to that.
	Tokens []string
	// ProxyHeader is where a proxy at one of Proxies names the user.
	ProxyHeader string
	Proxies     []netip.Prefix
	// Home is where a browser goes that has logged in, such as "/queues": itself or
	// what is below it. Required.
	Home string
	// Guard says by which names the pages may be asked for.
	Guard guard.Guard
	// Log and Metrics are required.
	Log     *zap.Logger
	Metrics prometheus.Registerer
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Gate lets in who has logged in. It is safe for concurrent use.
type Gate struct {
	cfg      Config
	sessions *sessions
	throttle *throttle
	// hashing holds a place for each password that is being compared: that takes a
	// processor a while, and strangers must not keep all of them busy.
	hashing chan struct{}
	logins  *prometheus.CounterVec
	// refusedLog is Log with sampling: strangers must not be able to fill the disk.
	refusedLog *zap.Logger
}

// The outcomes of a login.
const (
	outcomeAccepted  = "accepted"
	outcomeRefused   = "refused"
	outcomeThrottled = "throttled"
)

// hashers is how many passwords are compared at once.
const hashers = 2

// New returns a Gate for cfg.
func New(cfg Config) *Gate {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	g := &Gate{
		cfg: cfg, sessions: newSessions(cfg.Now), throttle: newThrottle(cfg.Now), hashing: make(chan struct{}, hashers),
		refusedLog: cfg.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
			return zapcore.NewSamplerWithOptions(core, time.Second, 5, 1000)
		})),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_admin_logins_total",
			Help: "Tries to log in to the queue pages by password or token, by outcome.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{outcomeAccepted, outcomeRefused, outcomeThrottled} {
		g.logins.WithLabelValues(outcome)
	}
	cfg.Metrics.MustRegister(g.logins)
	return g
}

// Ways names the ways to log in, for people; none says that there is no login.
func (g *Gate) Ways() []string {
	var ways []string
	for way, set := range map[string]bool{
		"password": g.cfg.User != "", "token": len(g.cfg.Tokens) > 0, "proxy": g.cfg.ProxyHeader != "",
	} {
		if set {
			ways = append(ways, way)
		}
	}
	slices.Sort(ways)
	return ways
}

// Protect returns the pages for those who have logged in. Others are sent to the
// login page if they are browsers that open a page, and are else answered with 401.
func (g *Gate) Protect(pages http.Handler) http.Handler {
	return g.cfg.Guard.Protect(policy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := g.who(r)
		switch {
		case ok && isSafe(r.Method):
			pages.ServeHTTP(w, r)
		case ok:
			g.serveLogged(w, r, pages, who)
		case isSafe(r.Method) && strings.Contains(r.Header.Get("Accept"), "text/html") && g.hasPage():
			http.Redirect(w, r, Path+"?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			g.refuse(w)
		}
	}))
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// serveLogged serves a request that changes something and notes whose it was.
func (g *Gate) serveLogged(w http.ResponseWriter, r *http.Request, pages http.Handler, who string) {
	noted := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	pages.ServeHTTP(noted, r)
	g.cfg.Log.Info("queue changed by a person", zap.String("user", who), zap.String("method", r.Method), zap.String("path", r.URL.Path),
		zap.Int("status", noted.status), zap.String("peer", r.RemoteAddr))
}

// refuse answers who has not logged in and is no browser that opens a page.
func (g *Gate) refuse(w http.ResponseWriter) {
	advice := "log in first"
	switch {
	case len(g.cfg.Tokens) > 0:
		w.Header().Set("WWW-Authenticate", "Bearer")
		advice += ", or send one of KLINGHOOK_ADMIN_TOKEN's tokens: Authorization: Bearer <token>"
	case !g.hasPage():
		advice += ": come through the proxy of KLINGHOOK_ADMIN_PROXIES, which names the user in " + g.cfg.ProxyHeader
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusUnauthorized)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": advice}) // whoever went away does not read it
}

// hasPage reports whether there is anything to fill in on the login page.
func (g *Gate) hasPage() bool { return g.cfg.User != "" || len(g.cfg.Tokens) > 0 }

// who returns whose request it is, if it is one of somebody who may.
func (g *Gate) who(r *http.Request) (who string, ok bool) {
	if len(g.Ways()) == 0 {
		return "local", true
	}
	if given, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); found {
		if g.isToken(given) {
			return "token", true
		}
		g.noteFailure(r, "token")
		return "", false
	}
	if user := g.proxied(r); user != "" {
		return user, true
	}
	return g.sessions.who(r)
}

// proxied returns the user that a trusted proxy names; empty when none does. A header
// that is there twice may be the client's own and the proxy's.
func (g *Gate) proxied(r *http.Request) string {
	if g.cfg.ProxyHeader == "" {
		return ""
	}
	values := r.Header.Values(g.cfg.ProxyHeader)
	peer := peerOf(r)
	trusted := slices.ContainsFunc(g.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(peer) })
	if !trusted || len(values) != 1 {
		return ""
	}
	return strings.TrimSpace(values[0])
}

// peerOf returns the address that a request came from; the zero one when it cannot
// be told.
func peerOf(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Unmap().WithZone("")
}

// isToken compares with every token, in a time that tells nothing of any.
func (g *Gate) isToken(given string) bool {
	known := 0
	for _, token := range g.cfg.Tokens {
		known |= same(given, token)
	}
	return known == 1
}

// same is 1 when the texts are the same, else 0.
func same(a, b string) int {
	sumA, sumB := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(sumA[:], sumB[:])
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
