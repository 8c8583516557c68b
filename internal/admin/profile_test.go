package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/admin"
)

// TestProfiles holds that profiles are there for who is on this machine, and for
// nobody else.
func TestProfiles(t *testing.T) {
	private := admin.Handler(admin.Config{Live: says("live", 200), Ready: says("ready", 200), Metrics: admin.NewMetrics("v1")})
	tests := []struct {
		name, peer, host, path string
		wantStatus             int
		wantIn                 string
	}{
		{"the list", "127.0.0.1:40000", "localhost:5001", "/debug/pprof/", 200, "goroutine"},
		{"memory", "127.0.0.1:40000", "127.0.0.1:5001", "/debug/pprof/heap?debug=1", 200, "heap profile"},
		{"over IPv6", "[::1]:40000", "[::1]:5001", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"an IPv4 peer of an IPv6 socket", "[::ffff:127.0.0.1]:40000", "localhost:5001", "/debug/pprof/", 200, "goroutine"},
		{"another machine", "10.0.0.9:40000", "10.0.0.1:5001", "/debug/pprof/", 403, "on this machine"},
		{"another machine that says localhost", "10.0.0.9:40000", "localhost:5001", "/debug/pprof/heap", 403, "on this machine"},
		{"a name that was made to resolve to this machine", "127.0.0.1:40000", "evil.example", "/debug/pprof/", 403, "name"},
		{"the command line", "127.0.0.1:40000", "localhost:5001", "/debug/pprof/cmdline", 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tt.path, http.NoBody)
			r.RemoteAddr, r.Host = tt.peer, tt.host
			w := httptest.NewRecorder()
			private.ServeHTTP(w, r)
			if w.Code != tt.wantStatus || !strings.Contains(w.Body.String(), tt.wantIn) {
				t.Errorf("answered %d %.80q, want %d with %q", w.Code, w.Body.String(), tt.wantStatus, tt.wantIn)
			}
		})
	}
}
