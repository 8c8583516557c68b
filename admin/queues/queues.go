// Package queues serves asynq's web pages for looking into the queue and running
// failed tasks again, with the protection that they lack: requests that change
// something must come from the pages themselves, only the names of this machine
// are answered, the pages ask nothing of the internet and stand in no other
// page's frame, and what they show has the signatures in links cut off.
//
// The pages have no login. They belong on a loopback address.
package queues

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"
)

// contentSecurityPolicy lets the pages load what they bring and nothing else.
// asynqmon's scripts and styles are partly inline.
const contentSecurityPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; " +
	"form-action 'self'; frame-ancestors 'none'"

// Pages are the queue pages.
type Pages struct {
	monitor *asynqmon.HTTPHandler
	guarded http.Handler
}

// New returns the pages, rooted at rootPath, for the queue in Redis.
func New(rootPath string, options *redis.Options) *Pages {
	readable := cutQueries()
	monitor := asynqmon.New(asynqmon.Options{
		RootPath:         rootPath,
		RedisConnOpt:     connOpt{options},
		PayloadFormatter: asynqmon.PayloadFormatterFunc(readable),
		ResultFormatter:  asynqmon.ResultFormatterFunc(readable),
	})
	// Browsers say where a request comes from; one that changes something must
	// come from our own pages.
	sameOrigin := http.NewCrossOriginProtection()
	return &Pages{monitor: monitor, guarded: localOnly(withHeaders(sameOrigin.Handler(monitor)))}
}

// ServeHTTP implements [http.Handler].
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.guarded.ServeHTTP(w, r)
}

// Close closes the pages' own connections to Redis.
func (p *Pages) Close() error {
	return p.monitor.Close()
}

// connOpt hands asynq a client made of options that it did not parse itself: its
// own parser drops the user's name.
type connOpt struct{ options *redis.Options }

// MakeRedisClient implements [asynq.RedisConnOpt].
func (o connOpt) MakeRedisClient() any { return redis.NewClient(o.options) }

var _ asynq.RedisConnOpt = connOpt{}

func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// localOnly refuses requests for a name that is not this machine's own. A page on
// the internet can make a name of its own resolve to a loopback address, and its
// scripts then count as same-origin; the name gives it away.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if !strings.EqualFold(host, "localhost") && (err != nil || !ip.IsLoopback()) {
			http.Error(w, "these pages answer to localhost only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// cutQueries returns a function that shows a payload with the queries of links cut
// off: signatures and tokens stand there. The link may be JSON within JSON, with
// its slashes and ampersands escaped.
func cutQueries() func(string, []byte) string {
	query := regexp.MustCompile(`(https?:(?:\\*/){2}(?:[^\s"\\?]|\\+/)*)\?(?:[^\s"\\]|\\+u[0-9a-fA-F]{4}|\\+/)*`)
	return func(kind string, payload []byte) string {
		return query.ReplaceAllString(asynqmon.DefaultPayloadFormatter.FormatPayload(kind, payload), "$1?…")
	}
}
