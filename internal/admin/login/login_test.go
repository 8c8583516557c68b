package login

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/crypto/bcrypt"

	"github.com/klinghook/klinghook/internal/testenv"
)

const (
	password = "correct horse battery"
	token    = "0123456789abcdefABCDEF-_0123456789"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// front is a gate with pages behind it.
type front struct {
	t       *testing.T
	gate    *Gate
	handler http.Handler // serves the gate and the pages
	logs    *observer.ObservedLogs
	redis   *miniredis.Miniredis
}

// newFront returns a front with its own Redis.
func newFront(t *testing.T, cfg Config) *front {
	t.Helper()
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	cfg.Redis = rdb
	f := newFrontOn(t, cfg)
	f.redis = server
	return f
}

// newFrontOn returns a front with the Redis of cfg.
func newFrontOn(t *testing.T, cfg Config) *front {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	cfg.Log, cfg.Metrics = zap.New(core), prometheus.NewRegistry()
	f := &front{t: t, logs: logs, gate: New(cfg)}
	mux := http.NewServeMux()
	mux.Handle("/", f.gate.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "pages: "+r.Method)
	})))
	mux.Handle(Path, f.gate)
	mux.Handle(LogoutPath, f.gate)
	f.handler = mux
	return f
}

// withPassword returns a Config with a user and a cheap hash of a password.
func withPassword(t *testing.T) Config {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return Config{User: "operator", PasswordHash: string(hash)}
}

// do sends a request with headers, given as pairs of name and value. "Peer" sets the
// client's address.
func (f *front) do(method, target string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	r.Host, r.RemoteAddr = "localhost:5001", "192.0.2.1:4711"
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		switch headers[i] {
		case "Peer":
			r.RemoteAddr = headers[i+1]
		case "Host":
			r.Host = headers[i+1]
		default:
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return w
}

// wantStatus checks the status of a response.
func wantStatus(t *testing.T, w *httptest.ResponseRecorder, want int, what string) {
	t.Helper()
	if w.Code != want {
		t.Errorf("%s: answered %d %s, want %d", what, w.Code, w.Body, want)
	}
}

func (f *front) login(user, pass string, headers ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	return f.do("POST", Path, url.Values{"user": {user}, "password": {pass}}, headers...)
}

// session logs in and returns the Cookie header.
func (f *front) session() string {
	f.t.Helper()
	w := f.login("operator", password)
	if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) != 1 {
		f.t.Fatalf("a login answers %d %s", w.Code, w.Body)
	}
	c := w.Result().Cookies()[0]
	return c.Name + "=" + c.Value
}

func TestPagesRequireLogin(t *testing.T) {
	all := withPassword(t)
	all.Tokens = []string{"another-token-of-thirty-two-letters", token}
	all.ProxyHeader, all.Proxies = "X-Forwarded-User", []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32"), netip.MustParsePrefix("fd00::/8")}
	proxyOnly := Config{ProxyHeader: all.ProxyHeader, Proxies: all.Proxies}
	const html = "text/html,*/*;q=0.8"
	tests := []struct {
		name    string
		cfg     Config
		method  string
		headers []string
		want    int
		wantIn  string // in the body or the redirect
	}{
		{"no login is set", Config{}, "GET", nil, 200, "pages"},
		{"no login is set, changing", Config{}, "POST", nil, 200, "pages: POST"},
		{"a browser that opens a page", all, "GET", []string{"Accept", html}, 303, "/login?next=%2Fqueues%2Fqueues%2Fmedia%3Fpage%3D2"},
		{"a browser that changes something", all, "POST", []string{"Accept", html}, 401, "log in first"},
		{"a script", all, "GET", []string{"Accept", "application/json"}, 401, "Authorization: Bearer"},
		{"a token", all, "DELETE", []string{"Authorization", "Bearer " + token}, 200, "pages: DELETE"},
		{"a wrong token", all, "GET", []string{"Authorization", "Bearer " + token + "x"}, 401, ""},
		{"the beginning of a token", all, "GET", []string{"Authorization", "Bearer " + token[:20]}, 401, ""},
		{"an empty token", all, "GET", []string{"Authorization", "Bearer "}, 401, ""},
		{"token in another scheme", all, "GET", []string{"Authorization", "Basic " + token}, 401, ""},
		{"a made-up session", all, "GET", []string{"Cookie", "klinghook_session=AAAA"}, 401, ""},
		{"the proxy", all, "POST", []string{"Peer", "10.0.0.7:1", "X-Forwarded-User", "ann"}, 200, "pages: POST"},
		{"the proxy as IPv4 in IPv6", all, "GET", []string{"Peer", "[::ffff:10.0.0.7]:1", "X-Forwarded-User", "ann"}, 200, "pages"},
		{"a proxy of the network", all, "GET", []string{"Peer", "[fd00::1%eth0]:1", "X-Forwarded-User", "ann"}, 200, "pages"},
		{"the proxy sends no user", all, "GET", []string{"Peer", "10.0.0.7:1"}, 401, ""},
		{"the proxy sends blanks", all, "GET", []string{"Peer", "10.0.0.7:1", "X-Forwarded-User", " "}, 401, ""},
		{"the proxy adds to the client's header", all, "GET", []string{"Peer", "10.0.0.7:1", "X-Forwarded-User", "root", "X-Forwarded-User", "ann"}, 401, ""},
		{"header from another address", all, "GET", []string{"Peer", "10.0.0.8:1", "X-Forwarded-User", "ann"}, 401, ""},
		{"forged X-Forwarded-For", all, "GET", []string{"X-Forwarded-For", "10.0.0.7", "X-Forwarded-User", "ann"}, 401, ""},
		{"header without configured proxy", withPassword(t), "GET", []string{"Peer", "10.0.0.7:1", "X-Forwarded-User", "ann"}, 401, ""},
		{"browser without the proxy", proxyOnly, "GET", []string{"Accept", html}, 401, "use a proxy"},
		{"logged in, from another site", all, "POST", []string{"Authorization", "Bearer " + token, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403, ""},
		{"logged in, under another host name", all, "GET", []string{"Authorization", "Bearer " + token, "Host", "evil.example"}, 403, "KLINGHOOK_ADMIN_HOSTS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newFront(t, tt.cfg).do(tt.method, "/queues/queues/media?page=2", nil, tt.headers...)
			if got := w.Header().Get("Location") + w.Body.String(); w.Code != tt.want || !strings.Contains(got, tt.wantIn) {
				t.Errorf("answered with %d %q, want %d and %q in it", w.Code, got, tt.want, tt.wantIn)
			}
			if reached := strings.Contains(w.Body.String(), "pages: "); reached != (tt.want == 200) {
				t.Errorf("the pages were reached: %t", reached)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") {
				t.Errorf("the response lacks security headers: %v", w.Header())
			}
		})
	}
}

func TestLoginForm(t *testing.T) {
	cfg := withPassword(t)
	cfg.Tokens = []string{token}
	tests := []struct {
		name string
		form url.Values
		ok   bool
	}{
		{"password", url.Values{"user": {"operator"}, "password": {password}}, true},
		{"wrong password", url.Values{"user": {"operator"}, "password": {password + "x"}}, false},
		{"no password", url.Values{"user": {"operator"}, "password": {""}}, false},
		{"wrong user", url.Values{"user": {"root"}, "password": {password}}, false},
		{"no user", url.Values{"user": {""}, "password": {password}}, false},
		{"user in upper case", url.Values{"user": {"Operator"}, "password": {password}}, false},
		{"token", url.Values{"token": {token + " "}}, true},
		{"wrong token", url.Values{"token": {"guess"}}, false},
		{"token as password", url.Values{"user": {"operator"}, "password": {token}}, false},
		{"nothing", url.Values{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(t, cfg)
			w := f.do("POST", Path, tt.form)
			cookies := w.Result().Cookies()
			if !tt.ok {
				if w.Code != http.StatusUnauthorized || len(cookies) > 0 {
					t.Errorf("answered with %d and %d cookies", w.Code, len(cookies))
				}
				return
			}
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" || len(cookies) != 1 {
				t.Fatalf("answered with %d, %q and %d cookies", w.Code, w.Header().Get("Location"), len(cookies))
			}
			if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Name != "klinghook_session" || c.MaxAge != 12*60*60 || len(c.Value) < 26 {
				t.Errorf("the cookie is %v", c)
			}
			wantStatus(t, f.do("POST", "/queues/api", nil, "Cookie", cookies[0].Name+"="+cookies[0].Value), http.StatusOK, "with the cookie")
		})
	}
}

func TestCookieIsSecureIfProxyReportsTLS(t *testing.T) {
	f := newFront(t, withPassword(t))
	cookies := f.login("operator", password, "X-Forwarded-Proto", "https").Result().Cookies()
	if len(cookies) != 1 || !cookies[0].Secure || cookies[0].Name != "__Host-klinghook_session" {
		t.Fatalf("the login answers with the cookies %v", cookies)
	}
	for name, want := range map[string]int{"__Host-klinghook_session": 200, "klinghook_session": 401} {
		wantStatus(t, f.do("GET", "/queues", nil, "X-Forwarded-Proto", "https", "Cookie", name+"="+cookies[0].Value), want, name)
	}
}

func TestSessionEndsAtLogoutAndAfterTwelveHours(t *testing.T) {
	f := newFront(t, withPassword(t))
	session, other := f.session(), f.session()
	f.do("POST", LogoutPath, nil, "Cookie", session, "Sec-Fetch-Site", "cross-site")
	wantStatus(t, f.do("GET", "/queues", nil, "Cookie", session), http.StatusOK, "after a logout by another site the pages")
	w := f.do("POST", LogoutPath, nil, "Cookie", session)
	if w.Code != http.StatusSeeOther || w.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout answers %d with the cookies %v", w.Code, w.Result().Cookies())
	}
	wantStatus(t, f.do("GET", "/queues", nil, "Cookie", session), http.StatusUnauthorized, "after the logout the pages")
	f.redis.FastForward(12*time.Hour - time.Minute)
	wantStatus(t, f.do("GET", "/queues", nil, "Cookie", other), http.StatusOK, "another session after less than twelve hours")
	f.redis.FastForward(time.Minute)
	wantStatus(t, f.do("GET", "/queues", nil, "Cookie", other), http.StatusUnauthorized, "after twelve hours")
}

func TestSessionIsSharedUntilCredentialsChange(t *testing.T) {
	cfg := withPassword(t)
	f := newFront(t, cfg)
	session := f.session()
	cfg.Redis = f.gate.cfg.Redis
	wantStatus(t, newFrontOn(t, cfg).do("GET", "/queues", nil, "Cookie", session), http.StatusOK, "another process")
	cfg.PasswordHash = withPassword(t).PasswordHash
	wantStatus(t, newFrontOn(t, cfg).do("GET", "/queues", nil, "Cookie", session), http.StatusUnauthorized, "a process with another password")
	for _, key := range f.redis.Keys() {
		if strings.Contains(key, strings.TrimPrefix(session, sessionCookie+"=")) {
			t.Errorf("Redis contains the cookie in %s", key)
		}
	}
}

func TestLoginWithoutRedisIsUnavailable(t *testing.T) {
	t.Parallel()
	cfg := withPassword(t)
	cfg.Tokens = []string{token}
	f := newFront(t, cfg)
	session := f.session()
	f.redis.Close()
	wantStatus(t, f.login("operator", password), http.StatusServiceUnavailable, "a login")
	wantStatus(t, f.do("GET", "/queues", nil, "Cookie", session), http.StatusServiceUnavailable, "a session")
	wantStatus(t, f.do("GET", "/queues", nil, "Authorization", "Bearer "+token), http.StatusOK, "a token")
}

func TestConcurrentGuessesAreCountedBeforeTheyAreChecked(t *testing.T) {
	for account, form := range map[string]url.Values{
		"user":         {"user": {"operator"}, "password": {"guess"}},
		"unknown user": {"user": {"root"}, "password": {"guess"}},
		"token":        {"token": {"guess"}},
	} {
		t.Run(account, func(t *testing.T) {
			cfg := withPassword(t)
			cfg.Tokens = []string{token}
			synctest.Test(t, func(t *testing.T) { // The clock stands still, so no guess is allowed again.
				f := newFrontOn(t, cfg)
				var wg sync.WaitGroup
				for range 600 {
					wg.Go(func() { f.do("POST", Path, form) })
				}
				wg.Wait()
				for outcome, want := range map[string]float64{outcomeAccepted: 0, outcomeRefused: freeGuesses, outcomeThrottled: 600 - freeGuesses} {
					if got := testutil.ToFloat64(f.gate.logins.WithLabelValues(outcome)); got != want {
						t.Errorf("%v logins are %s, want %v", got, outcome, want)
					}
				}
			})
		})
	}
}

func TestGuessesOfOthersDoNotLockOutTheOperator(t *testing.T) {
	cfg := withPassword(t)
	cfg.Tokens, cfg.Proxies = []string{token}, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
	f := newFront(t, cfg)
	for range 50 {
		f.login("operator", "guess", "X-Forwarded-For", "203.0.113.9")
		f.login("root", "guess", "X-Forwarded-For", "198.51.100.2")
		f.do("POST", Path, url.Values{"token": {"guess"}}, "X-Forwarded-For", "198.51.100.2")
		f.do("GET", "/queues", nil, "X-Forwarded-For", "198.51.100.2", "Authorization", "Bearer guess")
	}
	wantStatus(t, f.login("operator", password, "X-Forwarded-For", "203.0.113.9"), http.StatusTooManyRequests, "the client that guessed")
	wantStatus(t, f.login("operator", password, "X-Forwarded-For", "203.0.113.9, 198.51.100.2"), http.StatusSeeOther, "the operator's login")
	wantStatus(t, f.do("GET", "/queues", nil, "X-Forwarded-For", "198.51.100.2", "Authorization", "Bearer "+token), http.StatusOK, "a correct token")
}

func TestClientMayLogInAgainAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFrontOn(t, withPassword(t))
		for range freeGuesses {
			if w := f.login("operator", "guess"); w.Code != http.StatusUnauthorized {
				t.Fatalf("a wrong login answers %d", w.Code)
			}
		}
		w := f.login("operator", password)
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "10" || !strings.Contains(w.Body.String(), "Try again in 10s.") {
			t.Errorf("then the correct one answers %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		time.Sleep(guessEvery)
		wantStatus(t, f.login("operator", "guess"), http.StatusUnauthorized, "after the wait a login")
	})
}

func TestWaitingPasswordChecksAreBounded(t *testing.T) {
	f := newFront(t, withPassword(t))
	for range 3 * freeGuesses {
		f.session() // Correct logins are not limited.
	}
	for range maxChecking {
		f.gate.checking <- struct{}{}
	}
	if w := f.login("operator", password); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
		t.Errorf("a login beyond the limit answers %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	<-f.gate.checking
	wantStatus(t, f.login("operator", password), http.StatusSeeOther, "a login within it")
}

func TestRememberedClientsAreBounded(t *testing.T) {
	var g guesses
	for i := range maxGuessers + 1 {
		g.count(guesser{addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})})
	}
	if n := len(g.limiters); n > maxGuessers {
		t.Errorf("%d clients are remembered, want at most %d", n, maxGuessers)
	}
	if a, b := network(netip.MustParseAddr("2001:db8::1")), network(netip.MustParseAddr("2001:db8::ffff")); a != b {
		t.Errorf("%s and %s are counted separately", a, b)
	}
	if a, b := network(netip.MustParseAddr("2001:db8::1")), network(netip.MustParseAddr("2001:db8:0:1::1")); a == b {
		t.Errorf("both are counted as %s", a)
	}
}

func TestLoginRedirectsOnlyToPages(t *testing.T) {
	tests := []struct{ next, want string }{
		{"", "/"},
		{"/", "/"},
		{"/jobs/a%2Fb?platform=kling", "/jobs/a%2Fb?platform=kling"},
		{"/queues/queues/media?status=archived", "/queues/queues/media?status=archived"},
		{"/login?next=/login", "/"},
		{"/logout", "/"},
		{"jobs", "/"},
		{"https://evil.example/queues", "/"},
		{"//evil.example/queues/", "/"},
		{"////evil.example/queues/", "/"},
		{`/\evil.example/queues/`, "/"},
		{"javascript:alert(1)", "/"},
		{"/queues/\r\nSet-Cookie: a=b", "/"},
	}
	for _, tt := range tests {
		t.Run(tt.next, func(t *testing.T) {
			f := newFront(t, withPassword(t))
			w := f.do("POST", Path, url.Values{"user": {"operator"}, "password": {password}, "next": {tt.next}})
			if got := w.Header().Get("Location"); got != tt.want {
				t.Errorf("leads to %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLoginPageOffersConfiguredLogins(t *testing.T) {
	both := withPassword(t)
	both.Tokens = []string{token}
	tests := []struct {
		name    string
		cfg     Config
		methods string
		want    []string
		wantNot []string
	}{
		{"password", withPassword(t), "[password]", []string{`name="user"`, `name="password"`}, []string{`name="token"`, "reverse proxy"}},
		{"token", Config{Tokens: []string{token}}, "[token]", []string{`name="token"`}, []string{`name="user"`}},
		{"both", both, "[password token]", []string{`name="user"`, `name="token"`}, nil},
		{"proxy", Config{ProxyHeader: "X-User"}, "[proxy]", []string{"Log in through the reverse proxy"}, []string{"<form"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(t, tt.cfg)
			w := f.do("GET", Path+`?next="><script>`, nil)
			text := w.Body.String()
			if got := fmt.Sprint(f.gate.Methods()); got != tt.methods {
				t.Errorf("methods %s, want %s", got, tt.methods)
			}
			for _, want := range append(tt.want, "<style>"+pageCSS+"</style>") {
				if !strings.Contains(text, want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			for _, unwanted := range append(tt.wantNot, "<script", token) {
				if strings.Contains(text, unwanted) {
					t.Errorf("the page has %q", unwanted)
				}
			}
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("the page may be cached: %v", w.Header())
			}
		})
	}
	t.Run("already logged in", func(t *testing.T) {
		f := newFront(t, withPassword(t))
		if w := f.do("GET", Path, nil, "Cookie", f.session()); w.Header().Get("Location") != "/" {
			t.Errorf("leads to %q", w.Header().Get("Location"))
		}
	})
	t.Run("methods", func(t *testing.T) {
		f := newFront(t, withPassword(t))
		for method, target := range map[string]string{"PUT": Path, "GET": LogoutPath} {
			wantStatus(t, f.do(method, target, nil), http.StatusMethodNotAllowed, method)
		}
		wantStatus(t, f.do("POST", Path, url.Values{"user": {strings.Repeat("x", maxForm)}}), http.StatusBadRequest, "a large form")
	})
}

func TestLogNamesTheUserButNoSecret(t *testing.T) {
	cfg := withPassword(t)
	cfg.Tokens = []string{token}
	f := newFront(t, cfg)
	f.login("hunter2", "hunter2")
	f.do("GET", "/queues", nil, "Authorization", "Bearer hunter2")
	session := f.session()
	f.do("GET", "/queues", nil, "Cookie", session)
	f.do("DELETE", "/queues/api/queues/media/archived_tasks/a", nil, "Cookie", session)
	var got []string
	for _, entry := range f.logs.All() {
		fields := entry.ContextMap()
		got = append(got, fmt.Sprint(entry.Message, " ", fields["user"], " ", fields["method"], " ", fields["path"], " ", fields["status"]))
		for name, value := range fields {
			for _, secret := range []string{"hunter2", password, token, strings.TrimPrefix(session, sessionCookie+"=")} {
				if strings.Contains(fmt.Sprint(value), secret) {
					t.Errorf("%q logs a secret in %s: %v", entry.Message, name, value)
				}
			}
		}
	}
	want := "login refused <nil> <nil> <nil> <nil>; login refused <nil> <nil> <nil> <nil>; logged in operator <nil> <nil> <nil>; " +
		"user made a change operator DELETE /queues/api/queues/media/archived_tasks/a 200"
	if strings.Join(got, "; ") != want {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "; "), want)
	}
}
