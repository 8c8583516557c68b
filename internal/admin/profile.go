package admin

import (
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"

	"github.com/klinghook/klinghook/internal/admin/guard"
)

// profilesPath is where Go's own profiles are: `go tool pprof` knows it.
const profilesPath = "/debug/pprof/"

// profiles serves the profiles of this process, to who is on this machine only: a
// profile costs a processor, and no login stands before it. What comes from a
// container or a pod itself, as `kubectl port-forward` does, counts as this machine.
// The command line is not among them.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(profilesPath, pprof.Index) // with the profiles that it lists
	mux.HandleFunc(profilesPath+"cmdline", http.NotFound)
	mux.HandleFunc(profilesPath+"profile", pprof.Profile)
	mux.HandleFunc(profilesPath+"symbol", pprof.Symbol)
	mux.HandleFunc(profilesPath+"trace", pprof.Trace)
	return fromThisMachine(guard.Guard{}.Protect("default-src 'none'; style-src 'unsafe-inline'", mux))
}

// fromThisMachine refuses requests whose peer is another machine.
func fromThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		ip, parseErr := netip.ParseAddr(host)
		if err != nil || parseErr != nil || !ip.Unmap().IsLoopback() {
			http.Error(w, "profiles are for who is on this machine: come by its loopback address, as through an SSH tunnel or kubectl port-forward", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
