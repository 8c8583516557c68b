package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// NewRedis returns a client for redis://, rediss:// (TLS) or unix:// URLs, in
// the forms of redis.ParseURL: user and password before the host, the database
// as the path, and options such as ?pool_size=50 as the query. It does not
// connect yet. The caller closes it, after everything that uses it. Its errors
// show nothing of the URL, which may hold a password.
func NewRedis(redisURL string) (*redis.Client, error) {
	opts, err := redis.ParseURL(redisURL)
	if err != nil {
		// A password with a character that should have been escaped can end up in
		// any part of the error.
		return nil, errors.New("read Redis URL: write redis://[user:password@]host:6379/0, rediss:// for TLS, or unix:///path/to.sock, with the options that go-redis knows; write special characters of the password as %2F and the like")
	}
	if opts.DialTimeout == 0 { // where the URL does not say
		opts.DialTimeout = 2 * time.Second
	}
	if opts.ReadTimeout == 0 {
		// A worker's dequeue whose reply is given up for lost costs the task an attempt
		// and minutes, so a slow Redis is waited for; deliveries have limits of their own.
		opts.ReadTimeout = 10 * time.Second
	}
	// Who is refused is refused at once; commands have tries of their own.
	opts.DialerRetries = 1
	// A command ends when its caller's context does, not only when its socket
	// times out.
	opts.ContextTimeoutEnabled = true
	return redis.NewClient(opts), nil
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
