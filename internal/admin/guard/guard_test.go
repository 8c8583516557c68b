package guard_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/klinghook/klinghook/internal/admin/guard"
)

func pages(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func TestNames(t *testing.T) {
	own := guard.Guard{Hosts: []string{"queue.example.com", "10.0.0.9", "2001:db8::1"}}
	tests := []struct {
		host string
		want int
	}{
		{"localhost:5001", 204},
		{"127.8.9.10", 204},
		{"queue.example.com", 204},
		{"QUEUE.example.com:8443", 204},
		{"10.0.0.9:5001", 204},
		{"[::ffff:10.0.0.9]:5001", 204},
		{"[2001:db8::1]:5001", 204},
		{"[2001:DB8:0::1]", 204},
		{"", 403},
		{"queue.example.com.evil.example", 403},
		{"evil.queue.example.com", 403},
		{"10.0.0.8:5001", 403},
		{"evil.example", 403},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/queues", http.NoBody)
			r.Host = tt.host
			w := httptest.NewRecorder()
			own.Protect("default-src 'none'", http.HandlerFunc(pages)).ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("a request for %q is answered with %d, want %d", tt.host, w.Code, tt.want)
			}
		})
	}
}

// TestBehindAProxy checks a request that comes by TLS to a proxy: the browser's
// origin is https, and ours is not.
func TestBehindAProxy(t *testing.T) {
	own := guard.Guard{Hosts: []string{"queue.example.com"}}
	for site, want := range map[string]int{"same-origin": 204, "same-site": 403, "cross-site": 403} {
		r := httptest.NewRequest("POST", "/queues/api", http.NoBody)
		r.Host = "queue.example.com"
		r.Header.Set("Origin", "https://queue.example.com")
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		own.Protect("default-src 'none'", http.HandlerFunc(pages)).ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("a request from %s is answered with %d, want %d", site, w.Code, want)
		}
	}
}
