package queues

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard protects the pages from what other pages in the same browser ask of them.
func guard(pages http.Handler, policy string) http.Handler {
	// Browsers say where a request comes from; one that changes something must
	// come from our own pages. Another port of this machine is another origin.
	return localOnly(withHeaders(policy, http.NewCrossOriginProtection().Handler(pages)))
}

func withHeaders(policy string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

// localOnly refuses requests for a name that is not this machine's own. A page on
// the internet can make a name of its own resolve to a loopback address, and its
// scripts then count as same-origin; the name gives it away.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host) {
			http.Error(w, "these pages answer to localhost and loopback addresses only; from elsewhere, come through an SSH tunnel", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocal reports whether a Host header, with a port or without, names this
// machine.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}
