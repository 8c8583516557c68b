package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/admin"
)

func TestLocalProfilesAreServedToThisMachineOnly(t *testing.T) {
	private := admin.Handler(admin.Config{Live: says("live", 200), Ready: says("ready", 200), Metrics: admin.NewMetrics("v1"), Profiles: admin.LocalProfiles()})
	tests := []struct {
		name, peer, host, path, header string
		wantStatus                     int
		wantIn                         string
	}{
		{"list", "127.0.0.1:40000", "localhost:5001", "/debug/pprof/", "", 200, "goroutine"},
		{"memory", "127.0.0.1:40000", "127.0.0.1:5001", "/debug/pprof/heap?debug=1", "", 200, "heap profile"},
		{"IPv6", "[::1]:40000", "[::1]:5001", "/debug/pprof/goroutine?debug=1", "", 200, "goroutine profile"},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:40000", "localhost:5001", "/debug/pprof/", "", 200, "goroutine"},
		{"another machine", "10.0.0.9:40000", "10.0.0.1:5001", "/debug/pprof/", "", 403, "host name"},
		{"another machine that sends localhost", "10.0.0.9:40000", "localhost:5001", "/debug/pprof/heap", "", 403, "this machine"},
		{"rebound name", "127.0.0.1:40000", "evil.example", "/debug/pprof/", "", 403, "host name"},
		{"proxy that rewrites the host name", "127.0.0.1:40000", "localhost:5001", "/debug/pprof/heap", "X-Forwarded-For", 403, "this machine"},
		{"another proxy that rewrites it", "127.0.0.1:40000", "localhost:5001", "/debug/pprof/heap", "Via", 403, "this machine"},
		{"command line", "127.0.0.1:40000", "localhost:5001", "/debug/pprof/cmdline", "", 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tt.path, http.NoBody)
			r.RemoteAddr, r.Host = tt.peer, tt.host
			if tt.header != "" {
				r.Header.Set(tt.header, "203.0.113.9")
			}
			w := httptest.NewRecorder()
			private.ServeHTTP(w, r)
			if w.Code != tt.wantStatus || !strings.Contains(w.Body.String(), tt.wantIn) {
				t.Errorf("answered %d %.80q, want %d with %q", w.Code, w.Body.String(), tt.wantStatus, tt.wantIn)
			}
		})
	}
}
