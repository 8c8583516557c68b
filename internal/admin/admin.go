package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what the private handler is made of.
type Config struct {
	// Live and Ready answer GET /healthz and /readyz. Required.
	Live, Ready http.HandlerFunc
	// Metrics is what GET /metrics shows. Required.
	Metrics prometheus.Gatherer
	// Jobs, where set, answers PUT /jobs/<id>.
	Jobs http.Handler
	// Queues, where set, are the queue pages, served at /queues.
	Queues http.Handler
	// Login, where set, answers /login and /logout.
	Login http.Handler
}

// QueuesPath is where the queue pages are served.
const QueuesPath = "/queues"

// Handler returns the private handler. Health and metrics are answered whatever
// name the request is for: probes and Prometheus come by names of their own, and
// there is nothing secret in them. Profiles are at /debug/pprof, for who is on this
// machine only.
func Handler(cfg Config) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.GET("/healthz", echo.WrapHandler(cfg.Live))
	e.GET("/readyz", echo.WrapHandler(cfg.Ready))
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{})))
	e.Any(profilesPath+"*", echo.WrapHandler(profiles()))
	if cfg.Jobs != nil {
		e.PUT("/jobs/:id", echo.WrapHandler(cfg.Jobs))
	}
	if cfg.Queues != nil {
		e.Any(QueuesPath, echo.WrapHandler(cfg.Queues))
		e.Any(QueuesPath+"/*", echo.WrapHandler(cfg.Queues))
		e.GET("/", func(c echo.Context) error { return c.Redirect(http.StatusFound, QueuesPath) })
	}
	if cfg.Login != nil {
		e.Any("/login", echo.WrapHandler(cfg.Login))
		e.Any("/logout", echo.WrapHandler(cfg.Login))
	}
	return e
}

// NewMetrics returns a registry with what every process exports of itself.
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

// IsLoopback reports whether addr ("host:port") can be reached from this machine
// only. An empty host listens everywhere and is not.
func IsLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
