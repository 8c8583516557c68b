package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config configures Handler.
type Config struct {
	// Live and Ready answer GET /healthz and /readyz. Required.
	Live, Ready http.HandlerFunc
	// Metrics are served at GET /metrics. Required.
	Metrics prometheus.Gatherer
	// Prefix is the base path of Dashboard and Login, such as "/klinghook". Default: none.
	Prefix string
	// Profiles serves /debug/pprof/. Default: a 404 that says how to enable profiles.
	Profiles http.Handler
	// Dashboard, if set, serves everything else below Prefix.
	Dashboard http.Handler
	// Login, if set, serves Prefix + /login and /logout.
	Login http.Handler
}

// QueuesPath is the path of the queue pages, below the prefix.
const QueuesPath = "/queues"

// Handler returns the handler of a private address. Health and metrics contain no
// secrets and are served to any client under any host name.
func Handler(cfg Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", cfg.Live)
	mux.HandleFunc("GET /readyz", cfg.Ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{}))
	if cfg.Profiles == nil {
		cfg.Profiles = http.HandlerFunc(noProfiles)
	}
	mux.Handle(profilesPath, cfg.Profiles)
	if cfg.Dashboard != nil {
		mux.Handle(cfg.Prefix+"/", cfg.Dashboard)
		if cfg.Prefix != "" {
			mux.Handle("GET /{$}", http.RedirectHandler(cfg.Prefix+"/", http.StatusFound))
		}
	}
	if cfg.Login != nil {
		mux.Handle(cfg.Prefix+"/login", cfg.Login)
		mux.Handle(cfg.Prefix+"/logout", cfg.Login)
	}
	return mux
}

// NewMetrics returns a registry with the metrics that every process exports.
func NewMetrics(version string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "klinghook_build_info",
		Help:        "Always 1; the version is in the label.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	reg.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// BearerToken returns the token in the Authorization header of a request.
func BearerToken(r *http.Request) (token string, found bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return token, true
}

// IsLoopback reports whether addr ("host:port") is a loopback address. An address without a
// host is not.
func IsLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && isLocalHost(host)
}

func isLocalHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
