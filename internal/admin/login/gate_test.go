package login

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/crypto/bcrypt"

	"github.com/klinghook/klinghook/internal/admin/guard"
)

const (
	password = "correct horse battery"
	token    = "0123456789abcdefABCDEF-_0123456789"
)

// front is a gate with pages behind it.
type front struct {
	t    *testing.T
	gate *Gate
	// handler is the gate and the pages as a process serves them.
	handler http.Handler
	logs    *observer.ObservedLogs
	clock   time.Time
}

func newFront(t *testing.T, cfg Config) *front {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	f := &front{t: t, logs: logs, clock: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	cfg.Home, cfg.Log, cfg.Metrics = "/queues", zap.New(core), prometheus.NewRegistry()
	cfg.Now = func() time.Time { return f.clock }
	f.gate = New(cfg)
	mux := http.NewServeMux()
	mux.Handle("/", f.gate.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "pages: "+r.Method)
	})))
	mux.Handle(Path, f.gate)
	mux.Handle(LogoutPath, f.gate)
	f.handler = mux
	return f
}

// withPassword is a Config with a user and a password, of the cheapest hash.
func withPassword(t *testing.T) Config {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return Config{User: "operator", PasswordHash: string(hash)}
}

// ask sends a request with headers, given as name, value, name, value. "Peer" is
// where it comes from.
func (f *front) ask(method, target string, form url.Values, headers ...string) *httptest.ResponseRecorder {
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

func (f *front) login(user, pass string, headers ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	return f.ask("POST", Path, url.Values{"user": {user}, "password": {pass}}, headers...)
}

// session logs in and returns the cookie as a request's header.
func (f *front) session() string {
	f.t.Helper()
	w := f.login("operator", password)
	if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) != 1 {
		f.t.Fatalf("a login answers %d %s", w.Code, w.Body)
	}
	c := w.Result().Cookies()[0]
	return c.Name + "=" + c.Value
}

func TestWhoIsLetIn(t *testing.T) {
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
		wantIn  string // in the body or the target of a redirect
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
		{"a token in another scheme", all, "GET", []string{"Authorization", "Basic " + token}, 401, ""},
		{"a made-up session", all, "GET", []string{"Cookie", "klinghook_session=AAAA"}, 401, ""},
		{"the proxy", all, "POST", []string{"Peer", "10.0.0.7:1", "X-Forwarded-User", "ann"}, 200, "pages: POST"},
		{"the proxy by another name of its address", all, "GET", []string{"Peer", "[::ffff:10.0.0.7]:1", "X-Forwarded-User", "ann"}, 200, "pages"},
		{"a proxy of the network", all, "GET", []string{"Peer", "[fd00::1%eth0]:1", "X-Forwarded-User", "ann"}, 200, "pages"},
		{"the proxy names nobody", all, "GET", []string{"Peer", "10.0.0.7:1"}, 401, ""},
		{"the proxy names nobody, with blanks", all, "GET", []string{"Peer", "10.0.0.7:1", "X-Forwarded-User", " "}, 401, ""},
		{"the proxy passes a client's header on beside its own", all, "GET", []string{"Peer", "10.0.0.7:1", "X-Forwarded-User", "root", "X-Forwarded-User", "ann"}, 401, ""},
		{"somebody says to be the proxy", all, "GET", []string{"Peer", "10.0.0.8:1", "X-Forwarded-User", "ann"}, 401, ""},
		{"somebody says to come from the proxy", all, "GET", []string{"X-Forwarded-For", "10.0.0.7", "X-Forwarded-User", "ann"}, 401, ""},
		{"a header where no proxy is set", withPassword(t), "GET", []string{"Peer", "10.0.0.7:1", "X-Forwarded-User", "ann"}, 401, ""},
		{"a browser beside the proxy", proxyOnly, "GET", []string{"Accept", html}, 401, "come through the proxy"},
		{"logged in, from another site", all, "POST", []string{"Authorization", "Bearer " + token, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403, ""},
		{"logged in, by another name", all, "GET", []string{"Authorization", "Bearer " + token, "Host", "evil.example"}, 403, "KLINGHOOK_ADMIN_HOSTS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newFront(t, tt.cfg).ask(tt.method, "/queues/queues/media?page=2", nil, tt.headers...)
			if got := w.Header().Get("Location") + w.Body.String(); w.Code != tt.want || !strings.Contains(got, tt.wantIn) {
				t.Errorf("answered with %d %q, want %d and %q in it", w.Code, got, tt.want, tt.wantIn)
			}
			if let := strings.Contains(w.Body.String(), "pages: "); let != (tt.want == 200) {
				t.Errorf("the pages were reached: %t", let)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") {
				t.Errorf("the answer is not guarded: %v", w.Header())
			}
		})
	}
}

func TestPassword(t *testing.T) {
	tests := []struct {
		name, user, pass string
		ok               bool
	}{
		{"right", "operator", password, true},
		{"wrong password", "operator", password + "x", false},
		{"no password", "operator", "", false},
		{"wrong user", "root", password, false},
		{"no user", "", password, false},
		{"the user's name in other letters", "Operator", password, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(t, withPassword(t))
			w := f.login(tt.user, tt.pass)
			cookies := w.Result().Cookies()
			if !tt.ok {
				if w.Code != http.StatusUnauthorized || len(cookies) > 0 {
					t.Errorf("answered with %d and %d cookies", w.Code, len(cookies))
				}
				return
			}
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/queues" || len(cookies) != 1 {
				t.Fatalf("answered with %d, %q and %d cookies", w.Code, w.Header().Get("Location"), len(cookies))
			}
			if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.MaxAge != 12*60*60 || len(c.Value) < 26 {
				t.Errorf("the cookie is %v", c)
			}
			if w := f.ask("POST", "/queues/api", nil, "Cookie", cookies[0].Name+"="+cookies[0].Value); w.Code != http.StatusOK {
				t.Errorf("with the cookie: %d %s", w.Code, w.Body)
			}
		})
	}
}

// TestTokenInPage checks that a person, too, can log in with a token, and that a token
// is no password.
func TestTokenInPage(t *testing.T) {
	f := newFront(t, Config{Tokens: []string{token}})
	if w := f.ask("POST", Path, url.Values{"token": {token + " "}}); w.Code != http.StatusSeeOther || len(w.Result().Cookies()) != 1 {
		t.Errorf("a token answers %d", w.Code)
	}
	for _, form := range []url.Values{{"token": {"guess"}}, {"password": {token}}, {"user": {""}, "password": {""}}, {}} {
		if w := f.ask("POST", Path, form); w.Code != http.StatusUnauthorized {
			t.Errorf("%v answers %d", form, w.Code)
		}
	}
}

func TestSecureCookie(t *testing.T) {
	cfg := withPassword(t)
	cfg.Guard = guard.Guard{Hosts: []string{"queue.example.com"}}
	w := newFront(t, cfg).login("operator", password, "Host", "queue.example.com", "Origin", "https://queue.example.com", "Sec-Fetch-Site", "same-origin")
	if cookies := w.Result().Cookies(); len(cookies) != 1 || !cookies[0].Secure {
		t.Errorf("behind TLS the login answers %d with the cookies %v", w.Code, cookies)
	}
}

func TestSessionEnds(t *testing.T) {
	t.Run("at the log-out", func(t *testing.T) {
		f := newFront(t, withPassword(t))
		session, other := f.session(), f.session()
		w := f.ask("POST", LogoutPath, nil, "Cookie", session)
		if w.Code != http.StatusSeeOther || w.Result().Cookies()[0].MaxAge >= 0 {
			t.Errorf("log out answers %d with the cookies %v", w.Code, w.Result().Cookies())
		}
		if w := f.ask("GET", "/queues", nil, "Cookie", session); w.Code != http.StatusUnauthorized {
			t.Errorf("after the log-out: %d", w.Code)
		}
		if w := f.ask("GET", "/queues", nil, "Cookie", other); w.Code != http.StatusOK {
			t.Errorf("another session after it: %d", w.Code)
		}
	})
	t.Run("after twelve hours", func(t *testing.T) {
		f := newFront(t, withPassword(t))
		session := f.session()
		f.clock = f.clock.Add(12*time.Hour - time.Second)
		if w := f.ask("GET", "/queues", nil, "Cookie", session); w.Code != http.StatusOK {
			t.Errorf("just before: %d", w.Code)
		}
		f.clock = f.clock.Add(time.Second)
		if w := f.ask("GET", "/queues", nil, "Cookie", session); w.Code != http.StatusUnauthorized {
			t.Errorf("then: %d", w.Code)
		}
	})
	t.Run("when there are too many", func(t *testing.T) {
		s := newSessions(time.Now)
		r := httptest.NewRequest("POST", Path, http.NoBody)
		for range maxSessions + 10 {
			s.begin(httptest.NewRecorder(), r, "operator")
		}
		if len(s.live) != maxSessions {
			t.Errorf("%d sessions, want %d", len(s.live), maxSessions)
		}
	})
	t.Run("from another site it does not", func(t *testing.T) {
		f := newFront(t, withPassword(t))
		session := f.session()
		f.ask("POST", LogoutPath, nil, "Cookie", session, "Sec-Fetch-Site", "cross-site")
		if w := f.ask("GET", "/queues", nil, "Cookie", session); w.Code != http.StatusOK {
			t.Errorf("after another site's log-out: %d", w.Code)
		}
	})
}

func TestGuessesAreSlowedDown(t *testing.T) {
	f := newFront(t, withPassword(t))
	for range freeFailures {
		if w := f.login("operator", "guess"); w.Code != http.StatusUnauthorized {
			t.Fatalf("a wrong login answers %d", w.Code)
		}
	}
	w := f.login("operator", password)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "10" || !strings.Contains(w.Body.String(), "Try again in 10s") {
		t.Errorf("after %d wrong ones the right one answers %d, Retry-After %q", freeFailures, w.Code, w.Header().Get("Retry-After"))
	}
	if w := f.login("operator", password, "Peer", "192.0.2.2:1"); w.Code != http.StatusSeeOther {
		t.Errorf("from another address it answers %d", w.Code)
	}
	f.clock = f.clock.Add(failureEvery)
	if w := f.login("operator", password); w.Code != http.StatusSeeOther {
		t.Errorf("after the wait it answers %d", w.Code)
	}
	for outcome, want := range map[string]float64{outcomeAccepted: 2, outcomeRefused: freeFailures, outcomeThrottled: 1} {
		if got := testutil.ToFloat64(f.gate.logins.WithLabelValues(outcome)); got != want {
			t.Errorf("%v logins counted as %s, want %v", got, outcome, want)
		}
	}
}

func TestThrottleForgets(t *testing.T) {
	now := time.Now()
	throttle := newThrottle(func() time.Time { return now })
	for i := range maxPeers + 1 {
		throttle.failed(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if n := len(throttle.peers); n > maxPeers {
		t.Errorf("%d addresses are remembered, want %d at most", n, maxPeers)
	}
	// A customer's addresses count as one.
	for i := range freeFailures {
		throttle.failed(netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i)))
	}
	if throttle.wait(netip.MustParseAddr("2001:db8::ffff")) == 0 || throttle.wait(netip.MustParseAddr("2001:db8:0:1::1")) != 0 {
		t.Error("the first 64 bits of an address do not count as one")
	}
}

func TestWhereLoginLeads(t *testing.T) {
	tests := []struct{ next, want string }{
		{"", "/queues"},
		{"/queues", "/queues"},
		{"/queues/queues/media?status=archived", "/queues/queues/media?status=archived"},
		{"/queues?a=b", "/queues?a=b"},
		{"/metrics", "/queues"},
		{"/queuesx", "/queues"},
		{"https://evil.example/queues", "/queues"},
		{"//evil.example/queues/", "/queues"},
		{`/\evil.example/queues/`, "/queues"},
		{"javascript:alert(1)", "/queues"},
		{"/queues/\r\nSet-Cookie: a=b", "/queues"},
	}
	for _, tt := range tests {
		t.Run(tt.next, func(t *testing.T) {
			f := newFront(t, withPassword(t))
			w := f.ask("POST", Path, url.Values{"user": {"operator"}, "password": {password}, "next": {tt.next}})
			if got := w.Header().Get("Location"); got != tt.want {
				t.Errorf("leads to %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPage(t *testing.T) {
	both := withPassword(t)
	both.Tokens = []string{token}
	tests := []struct {
		name    string
		cfg     Config
		want    []string
		wantNot []string
	}{
		{"password", withPassword(t), []string{`name="user"`, `name="password"`}, []string{`name="token"`, "reverse proxy"}},
		{"token", Config{Tokens: []string{token}}, []string{`name="token"`}, []string{`name="user"`}},
		{"both", both, []string{`name="user"`, `name="token"`}, nil},
		{"proxy", Config{ProxyHeader: "X-User"}, []string{"Come through the reverse proxy"}, []string{"<form"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newFront(t, tt.cfg).ask("GET", Path+`?next="><script>`, nil)
			text := w.Body.String()
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
				t.Errorf("it may be kept: %v", w.Header())
			}
		})
	}
	t.Run("logged in already", func(t *testing.T) {
		f := newFront(t, withPassword(t))
		if w := f.ask("GET", Path, nil, "Cookie", f.session()); w.Header().Get("Location") != "/queues" {
			t.Errorf("leads to %q", w.Header().Get("Location"))
		}
	})
	t.Run("methods", func(t *testing.T) {
		f := newFront(t, withPassword(t))
		for method, target := range map[string]string{"PUT": Path, "GET": LogoutPath} {
			if w := f.ask(method, target, nil); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s answers %d", method, target, w.Code)
			}
		}
		if w := f.ask("POST", Path, url.Values{"user": {strings.Repeat("x", maxForm)}}); w.Code != http.StatusBadRequest {
			t.Errorf("a large form answers %d", w.Code)
		}
	})
}

// TestLogTellsWhoAndNoSecret checks what is logged of logins and of changes.
func TestLogTellsWhoAndNoSecret(t *testing.T) {
	cfg := withPassword(t)
	cfg.Tokens = []string{token}
	f := newFront(t, cfg)
	f.login("hunter2", "hunter2")
	f.ask("GET", "/queues", nil, "Authorization", "Bearer hunter2")
	session := f.session()
	f.ask("GET", "/queues", nil, "Cookie", session)
	f.ask("DELETE", "/queues/api/queues/media/archived_tasks/a", nil, "Cookie", session)
	var got []string
	for _, entry := range f.logs.All() {
		fields := entry.ContextMap()
		got = append(got, fmt.Sprint(entry.Message, " ", fields["user"], " ", fields["method"], " ", fields["path"], " ", fields["status"]))
		for name, value := range fields {
			for _, secret := range []string{"hunter2", password, token, strings.TrimPrefix(session, cookieName+"=")} {
				if strings.Contains(fmt.Sprint(value), secret) {
					t.Errorf("%q logs a secret in %s: %v", entry.Message, name, value)
				}
			}
		}
	}
	want := "login refused <nil> <nil> <nil> <nil>; login refused <nil> <nil> <nil> <nil>; logged in operator <nil> <nil> <nil>; " +
		"queue changed by a person operator DELETE /queues/api/queues/media/archived_tasks/a 200"
	if strings.Join(got, "; ") != want {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "; "), want)
	}
}

func TestWays(t *testing.T) {
	cfg := withPassword(t)
	cfg.Tokens, cfg.ProxyHeader = []string{token}, "X-User"
	if got := fmt.Sprint(newFront(t, cfg).gate.Ways(), newFront(t, Config{}).gate.Ways()); got != "[password proxy token] []" {
		t.Errorf("ways %s", got)
	}
}
