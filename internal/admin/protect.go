package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Protect protects pages from other pages in the same browser. It refuses cross-origin
// requests that change something and host names other than localhost, loopback
// addresses and hosts, and it forbids frames. policy is the pages'
// Content-Security-Policy.
func Protect(hosts []string, policy string, pages http.Handler) http.Handler {
	pages = sameSite(hosts, "or add the name to KLINGHOOK_ADMIN_HOSTS (--admin-hosts) of klinghook admin", pages)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		// With no-referrer, browsers send "Origin: null" with the pages' own forms.
		header.Set("Referrer-Policy", "same-origin")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		pages.ServeHTTP(w, r)
	})
}

// ProtectOpen protects a handler that requires no secret from web pages in local browsers.
// It refuses cross-origin requests that change something and host names other than
// localhost, loopback addresses and the host of addr ("host:port"). If addr has no host or
// an unspecified one, it accepts any name.
func ProtectOpen(addr string, open http.Handler) http.Handler {
	host, _, _ := net.SplitHostPort(addr) // an address without a port cannot be listened on
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return sameOrigin(open)
	}
	return sameSite([]string{host}, "or listen with --addr on an address without a host, such as :5000, which allows any name", open)
}

// sameSite refuses cross-origin requests that change something and host names other
// than localhost, loopback addresses and hosts. advice says how to allow a name.
func sameSite(hosts []string, advice string, pages http.Handler) http.Handler {
	pages = sameOrigin(pages)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A site can make its own name resolve to this machine. Its scripts would then
		// count as same-origin (DNS rebinding).
		if host := hostOf(r); !isLocalHost(host) && !slices.ContainsFunc(hosts, func(own string) bool { return sameHost(host, own) }) {
			Refuse(w, r, http.StatusForbidden, "unknown host name: use localhost, for example through an SSH tunnel, "+advice)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

// sameOrigin refuses cross-origin requests that change something.
func sameOrigin(pages http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Refuse(w, r, http.StatusForbidden, "cross-origin requests may not change anything; programs must leave out Origin and Sec-Fetch-Site")
	}))
	return protection.Handler(pages)
}

// hostOf returns the Host header of a request without its port.
func hostOf(r *http.Request) string {
	if name, _, err := net.SplitHostPort(r.Host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(r.Host, "["), "]")
}

// sameHost reports whether two names or addresses are equal.
func sameHost(a, b string) bool {
	ipA, errA := netip.ParseAddr(a)
	ipB, errB := netip.ParseAddr(b)
	if errA == nil && errB == nil {
		return ipA.Unmap() == ipB.Unmap()
	}
	return a != "" && strings.EqualFold(a, b)
}

// ClientAddr returns the address of a request's client, or the zero Addr if it is unknown.
// It trusts only those entries of X-Forwarded-For that trusted proxies added.
func ClientAddr(r *http.Request, proxies []netip.Prefix) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			break
		}
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		addr = next.Unmap().WithZone("")
	}
	return addr
}
