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

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// Queue is what takes tasks. Enqueue returns once the task is kept; a duplicate
// is success. [tasks.Client] is one.
type Queue interface {
	Enqueue(ctx context.Context, t tasks.Task) (duplicate bool, err error)
}

// Endpoint is a protocol that is received, with the secrets that it accepts.
type Endpoint struct {
	Protocol source.Protocol
	Source   source.Source
	// Tokens are set where the path ends in a token, which must be one of them.
	Tokens []string
	// Open, where set beside Tokens, returns why nothing is taken now.
	Open func(context.Context) error
}

// Config is what a Server is made of.
type Config struct {
	// Endpoints are the protocols to receive; one at least.
	Endpoints []Endpoint
	// Queue takes the events. Required.
	Queue Queue
	// Samples takes the sample of refused deliveries; default Queue. It is for a
	// Queue that keeps what Redis does not take, which samples are not worth.
	Samples Queue
	// MaxBody is the largest body in bytes; default 1 MiB.
	MaxBody int64
	// EnqueueTimeout is how long a delivery waits for the queue, or a large body
	// for a place in memory, before it is answered with 503; default 3 s.
	EnqueueTimeout time.Duration
	// Live and Ready answer GET /healthz and /readyz. Required.
	Live, Ready http.HandlerFunc
	// Log is required.
	Log *zap.Logger
	// Metrics is where the server registers its metrics. Required.
	Metrics prometheus.Registerer
	// Tracer traces the deliveries that are verified, if there is one: what strangers
	// send leaves no trace.
	Tracer trace.Tracer
	// Observe, where set, is told of each delivery in the place of the log. It is for
	// a person who looks on: nothing bounds how often strangers make it be called.
	Observe func(Delivery)
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Server takes deliveries over HTTP.
type Server struct {
	echo           *echo.Echo
	queue          Queue
	bodies         *bodies
	enqueueTimeout time.Duration
	enqueuing      atomic.Int64 // enqueues under way
	log            *zap.Logger
	// rejectLog is log with sampling: whoever has no secret must not be able to
	// fill the disk.
	rejectLog *zap.Logger
	sampler   *sampler
	metrics   metrics
	tracer    trace.Tracer   // nil where nothing is traced
	observe   func(Delivery) // nil where the log is told
	now       func() time.Time
}

// maxEnqueuing is how many enqueues may be under way at once.
const maxEnqueuing = 1024

// New returns a Server for cfg.
func New(cfg Config) *Server {
	s := &Server{
		echo:           echo.New(),
		queue:          cfg.Queue,
		enqueueTimeout: cfg.EnqueueTimeout,
		log:            cfg.Log,
		rejectLog: cfg.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
			return zapcore.NewSamplerWithOptions(core, time.Second, 5, 1000)
		})),
		sampler: newSampler(cmp.Or(cfg.Samples, cfg.Queue), cfg.Log),
		metrics: newMetrics(cfg.Metrics),
		tracer:  cfg.Tracer,
		observe: cfg.Observe,
		now:     cfg.Now,
	}
	if s.enqueueTimeout == 0 {
		s.enqueueTimeout = 3 * time.Second
	}
	s.bodies = newBodies(cmp.Or(cfg.MaxBody, 1<<20), s.enqueueTimeout)
	if s.now == nil {
		s.now = time.Now
	}
	s.echo.HideBanner, s.echo.HidePort = true, true
	s.echo.HTTPErrorHandler = s.answerError
	s.echo.Pre(middleware.RemoveTrailingSlash())
	for path, handler := range map[string]http.HandlerFunc{"/healthz": cfg.Live, "/readyz": cfg.Ready} {
		s.echo.Match([]string{http.MethodGet, http.MethodHead}, path, echo.WrapHandler(handler))
	}
	for _, endpoint := range cfg.Endpoints {
		s.metrics.announce(endpoint.Protocol.Name)
		s.echo.POST(endpoint.Protocol.Path, s.recoverPanics(s.receiver(endpoint)))
		s.echo.OPTIONS(endpoint.Protocol.Path, refuseOptions)
	}
	return s
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.echo.ServeHTTP(w, r)
}

// Start begins to hand a sample of the refused deliveries on to the queue, until
// Close. The server answers with or without it.
func (s *Server) Start(ctx context.Context) {
	s.sampler.start(context.WithoutCancel(ctx), s.enqueueTimeout)
}

// Close ends what Start began. It is for after the last delivery was answered.
func (s *Server) Close() {
	s.sampler.close()
}

// refusal is an answer other than 200: what the sender reads, and what the log
// and the metrics call it.
type refusal struct {
	status  int
	message string
	outcome string
	// reason is for the log only; it holds nothing of the body or the signature.
	reason error
}

func (r *refusal) Error() string { return r.message }

// retryAfterSeconds is what a refused sender is asked to wait when it is our side
// that cannot take the event.
const retryAfterSeconds = "5"

// answerError is Echo's error handler: every error leaves as {"error": "…"}, spaced
// as the answer of success is.
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
	default:
		s.log.Error("request failed", zap.String("path", c.Path()), zap.Error(err))
	}
	if status == http.StatusServiceUnavailable {
		c.Response().Header().Set(echo.HeaderRetryAfter, retryAfterSeconds)
	}
	if c.Request().Method == http.MethodHead {
		err = c.NoContent(status)
	} else {
		quoted, _ := json.Marshal(message) // a string always can be
		err = c.JSONBlob(status, fmt.Appendf(nil, `{"error": %s}`, quoted))
	}
	if err == nil && c.Response().Header().Get(echo.HeaderConnection) == "close" { // the body was not read to its end
		err = http.NewResponseController(c.Response()).Flush()
		drop(c.Request())
	}
	if err != nil {
		s.log.Debug("answer not written", zap.Error(err))
	}
}

// refuseOptions answers as any other method is answered; Echo would say 204.
func refuseOptions(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderAllow, http.MethodPost)
	return echo.ErrMethodNotAllowed
}

// recoverPanics turns a panic into a 500, so that the sender tries again.
func (s *Server) recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if v := recover(); v != nil {
				if cause, ok := v.(error); ok && errors.Is(cause, http.ErrAbortHandler) {
					panic(v)
				}
				s.log.Error("panic", zap.String("path", c.Path()), zap.Any("panic", v), zap.Stack("stack"))
				err = echo.ErrInternalServerError
			}
		}()
		return next(c)
	}
}
