package login

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/klinghook/klinghook/internal/admin"
)

const (
	// Path is the path of the login page, below the prefix.
	Path = "/login"
	// LogoutPath accepts the POST that ends a session, below the prefix.
	LogoutPath = "/logout"
)

// Config configures a Gate. A login method is off if its fields are empty.
type Config struct {
	// User, an operator, and PasswordHash, a bcrypt hash, belong together; so do those of a
	// viewer.
	User, PasswordHash             string
	ViewerUser, ViewerPasswordHash string
	// Tokens are the operators' bearer tokens, ViewerTokens the viewers'. They must be too
	// long to guess.
	Tokens, ViewerTokens []string
	// ProxyHeader is the header in which a proxy names the user.
	ProxyHeader string
	// Proxies are the addresses from which ProxyHeader and X-Forwarded-For are accepted.
	Proxies []netip.Prefix
	// Operators are the proxy's users who may change things. Default: all of them.
	Operators []string
	// ReadOnly makes all users viewers.
	ReadOnly bool
	// Prefix is the base path of the login and the pages, as in admin.Config.
	Prefix string
	// Hosts are the accepted host names besides local ones.
	Hosts []string
	// Redis keeps the sessions. Required if there is a password or a token.
	Redis redis.UniversalClient
	// Log and Metrics are required.
	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// Gate is a login in front of pages. It is safe for concurrent use.
type Gate struct {
	cfg      Config
	accounts []account
	sessions *scs.SessionManager
	guesses  guesses
	// checking limits the logins in progress, and hashing the bcrypt computations.
	checking, hashing chan struct{}
	logins            *prometheus.CounterVec
	// refusedLog is sampled, so that strangers cannot fill the disk.
	refusedLog *zap.Logger
}

const (
	maxChecking = 10
	maxHashing  = 2 // a check takes a quarter of a second of one CPU
)

// The outcomes of a login.
const (
	outcomeAccepted  = "accepted"
	outcomeRefused   = "refused"
	outcomeThrottled = "throttled"
)

// New returns a Gate.
func New(cfg Config) *Gate {
	g := &Gate{
		cfg: cfg, accounts: accountsOf(cfg), sessions: newSessions(cfg), checking: make(chan struct{}, maxChecking), hashing: make(chan struct{}, maxHashing),
		refusedLog: cfg.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
			return zapcore.NewSamplerWithOptions(core, time.Second, 5, 1000)
		})),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_admin_logins_total",
			Help: "Attempts to log in to the pages with a password or a token, by outcome.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{outcomeAccepted, outcomeRefused, outcomeThrottled} {
		g.logins.WithLabelValues(outcome)
	}
	cfg.Metrics.MustRegister(g.logins)
	return g
}

// Methods returns the configured login methods. If there are none, everybody has access.
func (g *Gate) Methods() []string {
	var methods []string
	if len(g.accounts) > 0 {
		methods = append(methods, "password")
	}
	if g.cfg.ProxyHeader != "" {
		methods = append(methods, "proxy")
	}
	if g.hasTokens() {
		methods = append(methods, "token")
	}
	return methods
}

// HasPage reports whether users can log in on the login page, and log out.
func (g *Gate) HasPage() bool { return len(g.accounts) > 0 || g.hasTokens() }

func (g *Gate) hasTokens() bool { return len(g.cfg.Tokens)+len(g.cfg.ViewerTokens) > 0 }

// Protect serves the pages to logged-in users; [UserOf] returns the user. Other requests
// are redirected to the login page if a browser opens a page, and get 401 otherwise.
// Viewers who try to change something get 403.
func (g *Gate) Protect(pages http.Handler) http.Handler {
	return admin.Protect(g.cfg.Hosts, pagePolicy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := g.user(r)
		safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
		withUser := r.WithContext(context.WithValue(r.Context(), userKey{}, user))
		switch {
		case err != nil:
			g.unavailable(w, r, err)
		case user.Name != "" && safe:
			pages.ServeHTTP(w, withUser)
		case user.Name != "" && user.Viewer:
			admin.Refuse(w, r, http.StatusForbidden, g.viewerAdvice())
		case user.Name != "":
			recorder := &statusWriter{ResponseWriter: w, status: http.StatusOK}
			pages.ServeHTTP(recorder, withUser)
			g.cfg.Log.Info("user made a change", zap.String("user", user.Name), zap.String("method", r.Method), zap.String("path", r.URL.Path),
				zap.Int("status", recorder.status), zap.String("peer", r.RemoteAddr))
		case safe && strings.Contains(r.Header.Get("Accept"), "text/html") && g.HasPage():
			http.Redirect(w, r, g.cfg.Prefix+Path+"?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			g.refuse(w, r)
		}
	}))
}

// viewerAdvice says why a viewer cannot change anything, and what to do.
func (g *Gate) viewerAdvice() string {
	if g.cfg.ReadOnly {
		return "nothing can be changed here: klinghook admin is read-only (KLINGHOOK_READ_ONLY, --read-only)"
	}
	return "viewers cannot change anything; log in as an operator, or use one of KLINGHOOK_ADMIN_TOKEN's tokens"
}

// refuse answers 401 and says how to log in.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request) {
	advice := "log in first"
	switch {
	case g.hasTokens():
		w.Header().Set("WWW-Authenticate", "Bearer")
		advice += ", or send one of KLINGHOOK_ADMIN_TOKEN's tokens: Authorization: Bearer <token>"
	case !g.HasPage():
		advice += ": use a proxy in KLINGHOOK_ADMIN_PROXIES that sends the user's name in " + g.cfg.ProxyHeader
	}
	admin.Refuse(w, r, http.StatusUnauthorized, advice)
}

func (g *Gate) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	g.cfg.Log.Error("session not available", zap.Error(err))
	admin.Refuse(w, r, http.StatusServiceUnavailable, "Redis, which stores the sessions, cannot be reached; try again")
}

// countRefused counts and logs a failed login. The log omits the input, which may be a
// password with a typo.
func (g *Gate) countRefused(r *http.Request, by string) {
	g.logins.WithLabelValues(outcomeRefused).Inc()
	g.refusedLog.Warn("login refused", zap.String("by", by), zap.Stringer("client", admin.ClientAddr(r, g.cfg.Proxies)), zap.String("peer", r.RemoteAddr))
}

// statusWriter records the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
