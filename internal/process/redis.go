package process

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// NewRedis returns a client for the Redis, the Sentinels or the cluster that a URL
// names:
//
//	redis://user:password@host:6379/0
//	unix:///path/to.sock?db=0
//	redis-sentinel://user:password@sentinel-1:26379/mymaster/0?addr=sentinel-2:26379&addr=sentinel-3:26379
//	redis-cluster://user:password@node-1:6379?addr=node-2:6379&addr=node-3:6379
//
// With rediss at the beginning they speak TLS, for which ca_file, cert_file, key_file
// and server_name may be in the query. The user and the password are those of Redis;
// the Sentinels' own, if any, are sentinel_username and sentinel_password in the query.
// Options such as pool_size=50 are go-redis's (see redis.ParseURL and its siblings).
//
// It does not connect yet. The caller closes it, after everything that uses it. Its
// errors show nothing of the URL but the names of files, for the rest may be a password.
func NewRedis(redisURL string) (redis.UniversalClient, error) {
	a, err := parseAddress(redisURL)
	if err != nil {
		return nil, err
	}
	switch a.kind {
	case kindSentinel:
		return newSentinelClient(a)
	case kindCluster:
		return newClusterClient(a)
	}
	opts, err := redis.ParseURL(a.url.String())
	if err != nil {
		return nil, errRedisURL
	}
	if a.tls != nil {
		a.tls.InsecureSkipVerify = opts.TLSConfig.InsecureSkipVerify // the option skip_verify
		a.tls.ServerName = cmp.Or(a.tls.ServerName, opts.TLSConfig.ServerName)
		opts.TLSConfig = a.tls
	}
	opts.DialTimeout = cmp.Or(opts.DialTimeout, dialTimeout)
	opts.ReadTimeout = cmp.Or(opts.ReadTimeout, readTimeout)
	opts.DialerRetries = dialerRetries
	opts.ContextTimeoutEnabled = true
	return redis.NewClient(opts), nil
}

const (
	// dialTimeout is for where the URL does not say.
	dialTimeout = 2 * time.Second
	// readTimeout, too: a worker's dequeue whose reply is given up for lost costs the
	// task an attempt and minutes, so a slow Redis is waited for; deliveries have
	// limits of their own.
	readTimeout = 10 * time.Second
	// dialerRetries is one: who is refused is refused at once, and commands have tries
	// of their own. Beside it ContextTimeoutEnabled is set everywhere, so that a command
	// ends when its caller's context does, not only when its socket times out.
	dialerRetries = 1
)

// newSentinelClient follows whichever server the Sentinels say is the master.
func newSentinelClient(a redisAddress) (redis.UniversalClient, error) {
	opts, err := redis.ParseFailoverURL(a.url.String())
	if err != nil {
		return nil, errRedisURL
	}
	opts.MasterName = a.master
	// The URL's login is Redis's, where go-redis takes it for the Sentinels'.
	opts.Username, opts.Password = a.user, a.password
	opts.SentinelUsername, opts.SentinelPassword = a.sentinelUser, a.sentinelPassword
	if a.tls != nil {
		a.tls.InsecureSkipVerify = opts.TLSConfig.InsecureSkipVerify // the option skip_verify
	}
	// Each server is held to the name that it is dialled by, unless there is one name
	// for all: go-redis's own would hold the master to the first Sentinel's.
	opts.TLSConfig = a.tls
	opts.DialTimeout = cmp.Or(opts.DialTimeout, dialTimeout)
	opts.ReadTimeout = cmp.Or(opts.ReadTimeout, readTimeout)
	opts.DialerRetries = dialerRetries
	opts.ContextTimeoutEnabled = true
	return redis.NewFailoverClient(opts), nil
}

func newClusterClient(a redisAddress) (redis.UniversalClient, error) {
	opts, err := redis.ParseClusterURL(a.url.String())
	if err != nil {
		return nil, errRedisURL
	}
	opts.TLSConfig = a.tls // as with Sentinels
	opts.DialTimeout = cmp.Or(opts.DialTimeout, dialTimeout)
	opts.ReadTimeout = cmp.Or(opts.ReadTimeout, readTimeout)
	opts.DialerRetries = dialerRetries
	opts.ContextTimeoutEnabled = true
	return redis.NewClusterClient(opts), nil
}

// readyKey is what RedisCheck writes; it expires by itself.
const readyKey = "klinghook:ready"

// RedisCheck passes when Redis takes a write, which it refuses while it loads its
// data, is a replica, is out of memory or cannot save.
func RedisCheck(rdb redis.UniversalClient) Check {
	return Check{Name: "redis", Probe: func(ctx context.Context) error {
		if err := rdb.Set(ctx, readyKey, 1, time.Minute).Err(); err != nil {
			return fmt.Errorf("write to Redis: %w", err)
		}
		return nil
	}}
}

// RedisLogger passes what go-redis itself has to say to log, at debug level: its
// callers get the errors, and report those.
type RedisLogger struct{ Log *zap.Logger }

// Printf implements go-redis's logging interface.
func (l RedisLogger) Printf(_ context.Context, format string, v ...any) {
	l.Log.Debug("redis client", zap.String("detail", fmt.Sprintf(format, v...)))
}
