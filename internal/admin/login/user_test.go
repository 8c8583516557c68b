package login

import (
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/klinghook/klinghook/internal/testenv"
)

const viewerToken = "viewer-0123456789abcdefABCDEF-_0123"

func TestViewersCannotChangeAnything(t *testing.T) {
	cfg := withPassword(t)
	cfg.Tokens, cfg.ViewerTokens = []string{token, "in-both-lists-0123456789abcdefABCDEF"}, []string{viewerToken, "in-both-lists-0123456789abcdefABCDEF"}
	cfg.ProxyHeader, cfg.Proxies, cfg.Operators = "X-Forwarded-User", []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32")}, []string{"ann"}
	readOnly := cfg
	readOnly.ReadOnly = true
	allOperate := cfg
	allOperate.Operators = nil
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	named := func(name string) []string { return []string{"Peer", "10.0.0.7:1", "X-Forwarded-User", name} }
	for _, tt := range []struct {
		name    string
		cfg     Config
		headers []string
		want    User
		advice  string
	}{
		{"operator's token", cfg, bearer(token), User{Name: "token"}, ""},
		{"viewer's token", cfg, bearer(viewerToken), User{"viewer token", true}, "log in as an operator"},
		{"token in both lists", cfg, bearer("in-both-lists-0123456789abcdefABCDEF"), User{"viewer token", true}, "log in as an operator"},
		{"operator of the proxy", cfg, named("ann"), User{Name: "ann"}, ""},
		{"another user of the proxy", cfg, named("bob"), User{"bob", true}, "log in as an operator"},
		{"another spelling", cfg, named("Ann"), User{"Ann", true}, "log in as an operator"},
		{"all users of the proxy are operators", allOperate, named("bob"), User{Name: "bob"}, ""},
		{"read-only", readOnly, bearer(token), User{"token", true}, "KLINGHOOK_READ_ONLY"},
		{"read-only, without a login", Config{ReadOnly: true}, nil, User{"local", true}, "KLINGHOOK_READ_ONLY"},
		{"without a login", Config{}, nil, User{Name: "local"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(t, tt.cfg)
			var got User
			f.handler = f.gate.Protect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = UserOf(r.Context()) }))
			for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
				wantStatus(t, f.do(method, "/api/v1/jobs", nil, tt.headers...), http.StatusOK, method)
			}
			if got != tt.want {
				t.Errorf("the user is %+v, want %+v", got, tt.want)
			}
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "get"} {
				w := f.do(method, "/api/v1/jobs/a", nil, tt.headers...)
				if tt.want.Viewer {
					wantStatus(t, w, http.StatusForbidden, method)
				}
				if body := w.Body.String(); !strings.Contains(body, tt.advice) || tt.advice != "" && w.Header().Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s answers %v %s, want advice %q", method, w.Header(), body, tt.advice)
				}
			}
		})
	}
}

func TestSessionKeepsTheRole(t *testing.T) {
	cfg := withPassword(t)
	cfg.Tokens, cfg.ViewerTokens = []string{token}, []string{viewerToken}
	f := newFront(t, cfg)
	for _, tt := range []struct {
		form url.Values
		want int
	}{
		{url.Values{"token": {viewerToken}}, http.StatusForbidden},
		{url.Values{"token": {token}}, http.StatusOK},
		{url.Values{"user": {"operator"}, "password": {password}}, http.StatusOK},
	} {
		cookie := f.do("POST", Path, tt.form).Result().Cookies()[0]
		session := cookie.Name + "=" + cookie.Value
		wantStatus(t, f.do("GET", "/", nil, "Cookie", session), http.StatusOK, "looking")
		wantStatus(t, f.do("POST", "/", nil, "Cookie", session), tt.want, "changing")
	}
	w := f.do("POST", "/", nil, "Cookie", "klinghook_session=AAAA", "Accept", "text/html")
	if body, _ := io.ReadAll(w.Body); !strings.HasPrefix(string(body), "log in first") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("a browser gets %v %s", w.Header(), body)
	}
}

func TestEachPasswordHasItsRole(t *testing.T) {
	cfg := withPassword(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("just looking"), bcrypt.MinCost)
	testenv.NoError(t, err)
	cfg.ViewerUser, cfg.ViewerPasswordHash = "guest", string(hash)
	onlyViewer := cfg
	onlyViewer.User, onlyViewer.PasswordHash = "", ""
	for _, tt := range []struct {
		name           string
		cfg            Config
		user, password string
		change         int // the status of a change; 0 if the login is refused
	}{
		{"operator", cfg, "operator", password, http.StatusOK},
		{"viewer", cfg, "guest", "just looking", http.StatusForbidden},
		{"operator with the viewer's password", cfg, "operator", "just looking", 0},
		{"viewer with the operator's password", cfg, "guest", password, 0},
		{"nobody", cfg, "", password, 0},
		{"only a viewer", onlyViewer, "guest", "just looking", http.StatusForbidden},
		{"nobody, with only a viewer", onlyViewer, "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(t, tt.cfg)
			w := f.login(tt.user, tt.password)
			if tt.change == 0 {
				wantStatus(t, w, http.StatusUnauthorized, "the login")
				return
			}
			wantStatus(t, w, http.StatusSeeOther, "the login")
			cookie := w.Result().Cookies()[0]
			session := []string{"Cookie", cookie.Name + "=" + cookie.Value}
			wantStatus(t, f.do("GET", "/", nil, session...), http.StatusOK, "a page")
			wantStatus(t, f.do("POST", "/", nil, session...), tt.change, "a change")
			if tt.cfg.User != "" {
				changed := tt.cfg
				changed.ViewerPasswordHash, changed.Redis = tt.cfg.PasswordHash, f.gate.cfg.Redis
				wantStatus(t, newFrontOn(t, changed).do("GET", "/queues", nil, session...), http.StatusUnauthorized, "after a change of the viewer's password")
			}
		})
	}
}
