package guard

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Guard protects pages.
type Guard struct {
	// Hosts are the names and addresses, without ports, by which the pages may be
	// asked for. Those of this machine itself always may: localhost and loopback
	// addresses.
	Hosts []string
}

// Protect returns the pages with their protection. policy is their
// Content-Security-Policy.
func (g Guard) Protect(policy string, pages http.Handler) http.Handler {
	// Browsers say where a request comes from; one that changes something must
	// come from our own pages. Another port of this machine is another origin.
	return withHeaders(policy, g.ownNamesOnly(http.NewCrossOriginProtection().Handler(pages)))
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

// ownNamesOnly refuses requests for a name that is not known to be ours. A page on
// the internet can make a name of its own resolve to an address of this machine,
// and its scripts then count as same-origin; the name gives it away.
func (g Guard) ownNamesOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := hostOf(r.Host); !isLocal(host) && !slices.ContainsFunc(g.Hosts, func(own string) bool { return sameHost(host, own) }) {
			http.Error(w, "these pages do not answer to this name: come by localhost, as through an SSH tunnel; klinghook admin takes other names in KLINGHOOK_ADMIN_HOSTS (--admin-hosts)", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostOf returns a Host header without its port.
func hostOf(header string) string {
	if name, _, err := net.SplitHostPort(header); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
}

// isLocal reports whether a host is this machine.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// sameHost reports whether two names or addresses are the same.
func sameHost(a, b string) bool {
	ipA, errA := netip.ParseAddr(a)
	ipB, errB := netip.ParseAddr(b)
	if errA == nil && errB == nil {
		return ipA.Unmap() == ipB.Unmap()
	}
	return a != "" && strings.EqualFold(a, b)
}
