package cli

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCheckHealthReportsWhyNotReady(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   string // in the error; empty for none
	}{
		{"ready", 200, `{"status":"ready"}`, ""},
		{"not ready", 503, `{"status":"not ready","checks":{"redis":"unreachable"}}`, `503 Service Unavailable: {"status":"not ready","checks":{"redis":"unreachable"}}`},
		{"something else listens there", 404, "", "404 Not Found"},
		{"redirected", 302, "", "302 Found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var request string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				request = r.Method + " " + r.URL.Path
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			_, port, err := net.SplitHostPort(server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			// A proxy that does not answer.
			t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
			for _, host := range []string{"127.0.0.1", "localhost", "", "0.0.0.0", "::"} {
				request = ""
				err := CheckHealth(t.Context(), net.JoinHostPort(host, port))
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("host %q: %v, want %q", host, err, tt.want)
				}
				if request != "GET /readyz" {
					t.Errorf("host %q: requested %q", host, request)
				}
			}
		})
	}
}

func TestCheckHealthNamesTheSetting(t *testing.T) {
	err := CheckHealth(t.Context(), "127.0.0.1:1")
	if err == nil || ExitCode(err) == ExitUsage || !strings.Contains(err.Error(), "--admin-addr") {
		t.Errorf("error %v, want one that names the setting", err)
	}
	if err := CheckHealth(t.Context(), "127.0.0.1:0"); ExitCode(err) != ExitUsage {
		t.Errorf("error %v of port 0, want a usage error", err)
	}
}
