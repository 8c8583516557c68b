package admin

import (
	"net/http"
	"net/http/pprof"
)

// profilesPath is where `go tool pprof` looks for profiles.
const profilesPath = "/debug/pprof/"

// Profiles serves the profiles of this process, without its command line. Profiling costs
// CPU, so put it behind a login.
func Profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(profilesPath, pprof.Index)
	mux.HandleFunc(profilesPath+"cmdline", http.NotFound)
	mux.HandleFunc(profilesPath+"profile", pprof.Profile)
	mux.HandleFunc(profilesPath+"symbol", pprof.Symbol)
	mux.HandleFunc(profilesPath+"trace", pprof.Trace)
	return mux
}

// LocalProfiles serves profiles to clients on this machine. It refuses requests with a
// proxy's headers, but not every proxy sets them.
func LocalProfiles() http.Handler {
	profiles := Profiles()
	return Protect(nil, "default-src 'none'; style-src 'unsafe-inline'", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied := false
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
			proxied = proxied || r.Header.Get(name) != ""
		}
		if proxied || !ClientAddr(r, nil).IsLoopback() {
			http.Error(w, "profiles are served on this machine only: use an SSH tunnel or kubectl port-forward", http.StatusForbidden)
			return
		}
		profiles.ServeHTTP(w, r)
	}))
}

func noProfiles(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "profiles are off: set KLINGHOOK_PROFILES=true, or use klinghook admin with a login", http.StatusNotFound)
}
