package admin_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/admin"
)

// says returns a handler that answers with the status, its name and the request.
func says(name string, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, name+": "+r.Method+" "+r.URL.RequestURI())
	}
}

func TestHandlerServesWhatIsConfigured(t *testing.T) {
	private := admin.Config{Live: says("live", 200), Ready: says("ready", 503), Metrics: admin.NewMetrics("v1.2.3")}
	withPages := private
	withPages.Dashboard = says("pages", 200)
	withLogin := withPages
	withLogin.Login = says("login", 200)
	withPrefix := withLogin
	withPrefix.Prefix = "/tools/klinghook"
	tests := []struct {
		name           string
		cfg            admin.Config
		method, target string
		wantStatus     int
		// wantIn is part of the body, or the target of a redirect.
		wantIn string
	}{
		{"live", private, "GET", "/healthz", 200, "live: GET /healthz"},
		{"not ready", private, "GET", "/readyz", 503, "ready: GET /readyz"},
		{"build info", private, "GET", "/metrics", 200, `klinghook_build_info{version="v1.2.3"} 1`},
		{"Go's own metrics", private, "GET", "/metrics", 200, "go_goroutines "},
		{"health by POST", private, "POST", "/healthz", 405, ""},
		{"another host name", private, "GET", "http://worker.example:5001/metrics", 200, "klinghook_build_info"},
		{"no profiles", private, "GET", "/debug/pprof/heap", 404, "KLINGHOOK_PROFILES"},
		{"no dashboard", private, "GET", "/queues", 404, ""},
		{"nothing at the root without a dashboard", private, "GET", "/", 404, ""},
		{"root", withPages, "GET", "/", 200, "pages: GET /"},
		{"queues", withPages, "GET", "/queues", 200, "pages: GET /queues"},
		{"a task's id", withPages, "DELETE", "/queues/api/queues/media/archived_tasks/media:download:a~2fb:v:1?x=%2F", 200,
			"pages: DELETE /queues/api/queues/media/archived_tasks/media:download:a~2fb:v:1?x=%2F"},
		{"no login", private, "GET", "/login", 404, ""},
		{"login", withLogin, "POST", "/login", 200, "login: POST /login"},
		{"log out", withLogin, "POST", "/logout", 200, "login: POST /logout"},
		{"root with a prefix", withPrefix, "GET", "/", 302, "/tools/klinghook/"},
		{"the prefix", withPrefix, "GET", "/tools/klinghook/", 200, "pages: GET /tools/klinghook/"},
		{"the prefix without a slash", withPrefix, "GET", "/tools/klinghook", 307, "/tools/klinghook/"},
		{"queues below the prefix", withPrefix, "GET", "/tools/klinghook/queues/api/queues", 200, "pages: GET /tools/klinghook/queues/api"},
		{"login below the prefix", withPrefix, "POST", "/tools/klinghook/login", 200, "login: POST /tools/klinghook/login"},
		{"log out below the prefix", withPrefix, "POST", "/tools/klinghook/logout", 200, "login: POST /tools/klinghook/logout"},
		{"pages outside the prefix", withPrefix, "GET", "/queues", 404, ""},
		{"health outside the prefix", withPrefix, "GET", "/healthz", 200, "live"},
		{"health with a login", withLogin, "GET", "/readyz", 503, "ready"},
		{"health with a dashboard", withPages, "GET", "/healthz", 200, "live"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			admin.Handler(tt.cfg).ServeHTTP(w, httptest.NewRequest(tt.method, tt.target, http.NoBody))
			if got := w.Header().Get("Location") + w.Body.String(); w.Code != tt.wantStatus || !strings.Contains(got, tt.wantIn) {
				t.Errorf("%s %s answers %d %q, want %d and %q in it", tt.method, tt.target, w.Code, got, tt.wantStatus, tt.wantIn)
			}
		})
	}
}

func TestIsLoopback(t *testing.T) {
	tests := []struct {
		addr string
		want bool
	}{
		{"127.0.0.1:5001", true},
		{"127.8.9.10:0", true},
		{"[::1]:5001", true},
		{"[::ffff:127.0.0.1]:5001", true},
		{"localhost:5001", true},
		{"LocalHost:5001", true},
		{":5001", false},
		{"0.0.0.0:5001", false},
		{"[::]:5001", false},
		{"10.0.0.1:5001", false},
		{"128.0.0.1:5001", false},
		{"[fe80::1]:5001", false},
		{"localhost.example.com:5001", false},
		{"127.0.0.1.example.com:5001", false},
		{"127.0.0.1", false},
		{"", false},
	}
	for _, tt := range tests {
		t.Run(tt.addr, func(t *testing.T) {
			if got := admin.IsLoopback(tt.addr); got != tt.want {
				t.Errorf("IsLoopback(%q) = %t, want %t", tt.addr, got, tt.want)
			}
		})
	}
}
