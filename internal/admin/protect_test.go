package admin_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/klinghook/klinghook/internal/admin"
)

var noContent = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

var protected = admin.Protect([]string{"queue.example.com", "10.0.0.9", "2001:db8::1"}, "default-src 'none'", noContent)

// status returns the status of a request with the headers Sec-Fetch-Site and Origin.
func status(handler http.Handler, method, host, site, origin string) int {
	r := httptest.NewRequest(method, "/queues/api", http.NoBody)
	r.Host = host
	for name, value := range map[string]string{"Sec-Fetch-Site": site, "Origin": origin} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Code
}

func TestOnlyKnownHostNamesAreServed(t *testing.T) {
	tests := []struct {
		host string
		want int
	}{
		{"localhost", 204},
		{"LOCALHOST:5001", 204},
		{"127.8.9.10", 204},
		{"127.0.0.1:5001", 204},
		{"[::1]", 204},
		{"[::ffff:127.0.0.1]:5001", 204},
		{"queue.example.com", 204},
		{"QUEUE.example.com:8443", 204},
		{"10.0.0.9:5001", 204},
		{"[::ffff:10.0.0.9]:5001", 204},
		{"[2001:DB8:0::1]", 204},
		{"", 403},
		{"evil.example:5001", 403},
		{"queue.example.com.evil.example", 403},
		{"evil.queue.example.com", 403},
		{"127.0.0.1.evil.example:5001", 403},
		{"evil.localhost:5001", 403},
		{"evil.example:localhost", 403},
		{"localhost@evil.example", 403},
		{"10.0.0.8:5001", 403},
		{"0.0.0.0:5001", 403},
		{"[::]:5001", 403},
		{"2130706433:5001", 403},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			if got := status(protected, "GET", tt.host, "", ""); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
}

func TestOpenHandlersServeOnlyTheirOwnPages(t *testing.T) {
	tests := []struct {
		name, addr, host, site, origin string
		want                           int
	}{
		{"program", "127.0.0.1:5000", "127.0.0.1:5000", "", "", 204},
		{"another local name", "127.0.0.1:5000", "localhost:5000", "", "", 204},
		{"own name", "fake-kling:5010", "fake-kling:5010", "", "", 204},
		{"own address", "10.0.0.9:5010", "10.0.0.9:5010", "", "", 204},
		{"any name, listening everywhere", ":5000", "hooks.example.com", "", "", 204},
		{"any name, listening on 0.0.0.0", "0.0.0.0:5010", "simulate:5010", "", "", 204},
		{"any name, listening on ::", "[::]:5010", "simulate:5010", "", "", 204},
		{"rebound name", "127.0.0.1:5000", "evil.example:5000", "same-origin", "http://evil.example:5000", 403},
		{"rebound name of an address", "10.0.0.9:5010", "evil.example:5010", "", "", 403},
		{"form of another site", "127.0.0.1:5000", "127.0.0.1:5000", "cross-site", "https://evil.example", 403},
		{"form of another site in an old browser", "127.0.0.1:5000", "127.0.0.1:5000", "", "https://evil.example", 403},
		{"form without an origin", "127.0.0.1:5000", "127.0.0.1:5000", "", "null", 403},
		{"form of another site, listening everywhere", ":5000", "localhost:5000", "cross-site", "https://evil.example", 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := status(admin.ProtectOpen(tt.addr, noContent), "POST", tt.host, tt.site, tt.origin); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
}

func TestCrossOriginChangesAreRefused(t *testing.T) {
	tests := []struct {
		name, host, site, origin string
		want                     int
	}{
		{"own page", "localhost:5001", "same-origin", "http://localhost:5001", 204},
		{"own page in an old browser", "localhost:5001", "", "http://localhost:5001", 204},
		{"own page behind a TLS proxy", "queue.example.com", "same-origin", "https://queue.example.com", 204},
		{"user", "localhost:5001", "none", "", 204},
		{"program", "localhost:5001", "", "", 204},
		{"another site", "localhost:5001", "cross-site", "https://evil.example", 403},
		{"another port", "localhost:5001", "same-site", "http://localhost:3000", 403},
		{"another site in an old browser", "localhost:5001", "", "https://evil.example", 403},
		{"another port in an old browser", "localhost:5001", "", "http://localhost:3000", 403},
		{"page without an origin", "localhost:5001", "", "null", 403},
		{"rebound name", "evil.example:5001", "same-origin", "http://evil.example:5001", 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, method := range []string{"POST", "DELETE"} {
				if got := status(protected, method, tt.host, tt.site, tt.origin); got != tt.want {
					t.Errorf("%s: status %d, want %d", method, got, tt.want)
				}
			}
		})
	}
}

func TestRefusedProgramsGetProblemDetails(t *testing.T) {
	for _, host := range []string{"localhost", "evil.example"} {
		r := httptest.NewRequest("POST", "/api/v1/deadletters/replay", http.NoBody)
		r.Host = host
		r.Header.Set("Origin", "https://evil.example")
		w := httptest.NewRecorder()
		protected.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusForbidden || got != "application/problem+json" {
			t.Errorf("a request of another site to %s gets %d %s", host, w.Code, got)
		}
	}
}

func TestForwardedAddressNeedsTrustedProxy(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32"), netip.MustParsePrefix("fd00::/8")}
	tests := []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "192.0.2.1:1", nil, "192.0.2.1"},
		{"untrusted peer", "192.0.2.1:1", []string{"203.0.113.9"}, "192.0.2.1"},
		{"proxy", "10.0.0.7:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"address made up by the client", "10.0.0.7:1", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "10.0.0.7:1", []string{"203.0.113.9, fd00::2"}, "203.0.113.9"},
		{"two headers", "10.0.0.7:1", []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
		{"proxy without the header", "10.0.0.7:1", nil, "10.0.0.7"},
		{"unreadable address", "10.0.0.7:1", []string{"203.0.113.9, unknown"}, "10.0.0.7"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.7]:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"zone", "[fd00::1%eth0]:1", []string{"2001:db8::1"}, "2001:db8::1"},
		{"no peer", "@", []string{"203.0.113.9"}, "invalid IP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", http.NoBody)
			r.RemoteAddr, r.Header["X-Forwarded-For"] = tt.peer, tt.forwarded
			if got := admin.ClientAddr(r, proxies).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
