package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/klinghook/klinghook/tasks"
)

// Enqueuer takes tasks, like [tasks.Client]. Enqueue returns once the task is safe; a
// duplicate is success.
type Enqueuer interface {
	Enqueue(ctx context.Context, task tasks.Task) (duplicate bool, err error)
}

// Config describes a Server.
type Config struct {
	// Endpoints are the protocols to receive; at least one.
	Endpoints []Endpoint
	// Queue takes the events. Required.
	Queue Enqueuer
	// Samples takes the samples of refused deliveries; default Queue.
	Samples Enqueuer
	// MaxBody is the largest body in bytes; default 1 MiB.
	MaxBody int64
	// EnqueueTimeout is how long a delivery waits for the queue before it is answered with
	// 503; default 3 s.
	EnqueueTimeout time.Duration
	// Check, if set, returns why the queue would not keep an event. It answers test deliveries.
	Check func(context.Context) error
	// Repeated, if set, is called before an event is answered that the queue has already.
	Repeated func(ctx context.Context, eventID string, at time.Time)
	// Tested, if set, is called before a test delivery is answered with 200.
	Tested func(ctx context.Context, delivery tasks.TestDelivery)
	// Live and Ready answer GET /healthz and /readyz. Required.
	Live, Ready http.HandlerFunc
	// Log is required.
	Log *zap.Logger
	// Metrics is where the server registers its metrics. Required.
	Metrics prometheus.Registerer
	// Tracer, if set, traces verified deliveries.
	Tracer trace.Tracer
	// Observe, if set, is called for each delivery instead of logging it. Strangers can
	// cause any number of calls.
	Observe func(Delivery)
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Server receives deliveries over HTTP.
type Server struct {
	cfg       Config
	echo      *echo.Echo
	bodies    *bodies
	enqueuing atomic.Int64 // enqueues under way
	// refusedLog samples, so that strangers cannot fill the disk.
	refusedLog *zap.Logger
	sampler    *sampler
	refusals   refusals
	metrics    metrics
}

// New returns a Server.
func New(cfg Config) *Server {
	cfg.Samples = cmp.Or(cfg.Samples, cfg.Queue)
	cfg.EnqueueTimeout = cmp.Or(cfg.EnqueueTimeout, 3*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{
		cfg:    cfg,
		echo:   echo.New(),
		bodies: newBodies(cmp.Or(cfg.MaxBody, 1<<20)),
		refusedLog: cfg.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
			return zapcore.NewSamplerWithOptions(core, time.Second, 5, 1000)
		})),
		sampler: newSampler(cfg.Samples, cfg.Log),
		metrics: newMetrics(cfg.Metrics, cfg.Endpoints),
	}
	s.echo.HTTPErrorHandler = s.answerError
	s.echo.Pre(refuseManyHeaders, middleware.RemoveTrailingSlash())
	for path, handler := range map[string]http.HandlerFunc{"/healthz": cfg.Live, "/readyz": cfg.Ready} {
		s.echo.Match([]string{http.MethodGet, http.MethodHead}, path, echo.WrapHandler(handler))
	}
	for _, endpoint := range cfg.Endpoints {
		s.echo.POST(endpoint.Protocol.Path, s.recoverPanics(s.receiver(endpoint)))
		s.echo.OPTIONS(endpoint.Protocol.Path, func(c echo.Context) error { // Echo would answer 204
			c.Response().Header().Set(echo.HeaderAllow, http.MethodPost)
			return echo.ErrMethodNotAllowed
		})
	}
	return s
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }

// Start enqueues samples of refused deliveries in the background, until Close. The server
// also answers without it.
func (s *Server) Start(ctx context.Context) {
	s.sampler.start(context.WithoutCancel(ctx), s.cfg.EnqueueTimeout)
}

// Close stops what Start started. Call it after the last delivery.
func (s *Server) Close() { s.sampler.close() }

// answerError is Echo's error handler. Every error is answered with {"error": "…"}.
func (s *Server) answerError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, message := http.StatusInternalServerError, "internal error"
	var refused *refusal
	var httpError *echo.HTTPError
	switch {
	case errors.As(err, &refused):
		status, message = refused.status, refused.message
	case errors.As(err, &httpError):
		status, message = httpError.Code, strings.ToLower(http.StatusText(httpError.Code))
		if status == http.StatusNotFound || status == http.StatusMethodNotAllowed {
			if advice := s.wrongPath(c.Request(), status); advice != "" {
				message += "; " + advice
			}
		}
	default:
		s.cfg.Log.Error("request failed", zap.String("path", c.Path()), zap.Error(err))
	}
	if status == http.StatusServiceUnavailable {
		c.Response().Header().Set(echo.HeaderRetryAfter, "5")
	}
	if c.Request().Method == http.MethodHead {
		err = c.NoContent(status)
	} else {
		quoted, _ := json.Marshal(message) // encoding a string never fails
		err = c.JSONBlob(status, fmt.Appendf(nil, `{"error": %s}`, quoted))
	}
	if err == nil && c.Response().Header().Get(echo.HeaderConnection) == "close" { // part of the body is unread
		err = http.NewResponseController(c.Response()).Flush()
		s.bodies.drop(c.Response(), c.Request())
	}
	if err != nil {
		s.cfg.Log.Debug("answer not written", zap.Error(err))
	}
}

// maxHeaders limits the header lines of a request, because each takes far more memory than
// its length.
const maxHeaders = 100

// refuseManyHeaders closes the connection, which frees the memory of the headers at once.
func refuseManyHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		lines := 0
		for _, values := range c.Request().Header {
			lines += len(values)
		}
		if lines > maxHeaders {
			c.Response().Header().Set(echo.HeaderConnection, "close")
			return echo.NewHTTPError(http.StatusRequestHeaderFieldsTooLarge)
		}
		return next(c)
	}
}

// recoverPanics turns a panic into a 500, so that the sender retries.
func (s *Server) recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if v := recover(); v != nil {
				if cause, ok := v.(error); ok && errors.Is(cause, http.ErrAbortHandler) {
					panic(v)
				}
				s.cfg.Log.Error("panic", zap.String("path", c.Path()), zap.Any("panic", v), zap.Stack("stack"))
				err = echo.ErrInternalServerError
			}
		}()
		return next(c)
	}
}
