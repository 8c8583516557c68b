package queues

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/admin/guard"
)

// Config is what Pages are made of.
type Config struct {
	// RootPath is where the pages are: it begins with a slash and does not end with
	// one. Required.
	RootPath string
	// Redis is the Redis that holds the queue, a [redis.Client] or a
	// [redis.ClusterClient]. It stays the caller's to close. Required.
	Redis redis.UniversalClient
	// Guard says by which names the pages may be asked for.
	Guard guard.Guard
	// ReadOnly lets nobody change anything.
	ReadOnly bool
	// LogoutPath, where set, is what a button in the pages posts to.
	LogoutPath string
}

// Pages are the queue pages. They are safe for concurrent use.
type Pages struct {
	rootPath string
	monitor  *asynqmon.HTTPHandler
	// index is the one HTML page; its scripts show everything else.
	index   []byte
	guarded http.Handler
}

// New returns the pages for cfg.
func New(cfg Config) *Pages {
	show := newFormatter()
	monitor := asynqmon.New(asynqmon.Options{
		RootPath:         cfg.RootPath,
		RedisConnOpt:     connOpt{cfg.Redis},
		PayloadFormatter: asynqmon.PayloadFormatterFunc(show.format),
		ResultFormatter:  asynqmon.ResultFormatterFunc(show.format),
		ReadOnly:         cfg.ReadOnly,
	})
	index := ownIndex(get(monitor, cfg.RootPath+"/").body.Bytes(), cfg.LogoutPath)
	p := &Pages{rootPath: cfg.RootPath, monitor: monitor, index: index}
	p.guarded = cfg.Guard.Protect(contentSecurityPolicy(index, cfg.LogoutPath != ""), http.HandlerFunc(p.serve))
	return p
}

// ServeHTTP implements [http.Handler].
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.guarded.ServeHTTP(w, r)
}

// serve answers what a browser opens as a page with the one that there is, and
// leaves the rest to asynqmon.
func (p *Pages) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(p.index) // the asker has gone; there is nobody to tell
	case r.URL.Path == p.rootPath+"/api/metrics": // It would be asked of a Prometheus that nobody named.
		http.NotFound(w, r)
	case r.Method == http.MethodGet && r.URL.Path == p.rootPath+redisInfoPath:
		p.serveRedisInfo(w)
	default:
		p.monitor.ServeHTTP(w, r)
	}
}

// redisInfoPath is where asynqmon answers what Redis tells of itself.
const redisInfoPath = "/api/redis_info"

// serveRedisInfo says so when Redis tells next to nothing of itself, as the one
// that dev embeds: the page would make "NaN" of it.
func (p *Pages) serveRedisInfo(w http.ResponseWriter) {
	info := get(p.monitor, p.rootPath+redisInfoPath)
	tells := bytes.Contains(info.body.Bytes(), []byte(`"redis_version"`)) || bytes.Contains(info.body.Bytes(), []byte(`"cluster":true`))
	if info.status == http.StatusOK && !tells {
		http.Error(w, "this Redis tells nothing of itself", http.StatusNotFound)
		return
	}
	w.WriteHeader(info.status)
	_, _ = w.Write(info.body.Bytes()) // as above
}

// connOpt hands asynqmon a client that is there already: asynq's own options know
// neither users nor much of TLS.
type connOpt struct{ rdb redis.UniversalClient }

// MakeRedisClient implements [asynq.RedisConnOpt].
func (o connOpt) MakeRedisClient() any { return o.rdb }

var _ asynq.RedisConnOpt = connOpt{}
