package process

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// The values of [RedisConfig.Mode].
const (
	RedisSingle   = "single"
	RedisSentinel = "sentinel"
	RedisCluster  = "cluster"
)

// RedisConfig says where Redis is and how to reach it.
type RedisConfig struct {
	// URL is in the form of redis.ParseURL, redis.ParseFailoverURL or
	// redis.ParseClusterURL, depending on Mode.
	URL string
	// Mode is RedisSingle if empty.
	Mode string
	// CA, Cert and Key are PEM files for a rediss:// URL: the authorities that sign
	// the server's certificate, and the client's certificate and key.
	CA, Cert, Key string
	// ServerName is the name in the server's certificate. If empty, it is the host
	// that is dialed.
	ServerName string
}

// NewRedis returns a client, which the caller closes. It does not connect yet. Its errors
// show no part of the URL, which may contain a password.
func NewRedis(cfg RedisConfig) (redis.UniversalClient, error) {
	switch cfg.Mode {
	case RedisSentinel:
		return newSentinelClient(cfg)
	case RedisCluster:
		return newClusterClient(cfg)
	}
	opts, err := redis.ParseURL(cfg.URL)
	if err != nil {
		return nil, errors.New("go-redis cannot read the URL; write redis://[user:password@]host:6379/0 or unix:///path/to.sock, with options of go-redis in the query")
	}
	if opts.TLSConfig, err = cfg.tls(opts.TLSConfig); err != nil {
		return nil, err
	}
	opts.DialTimeout, opts.ReadTimeout = cmp.Or(opts.DialTimeout, dialTimeout), cmp.Or(opts.ReadTimeout, readTimeout)
	opts.DialerRetries, opts.ContextTimeoutEnabled = dialerRetries, true
	return redis.NewClient(opts), nil
}

const (
	dialTimeout = 2 * time.Second
	// readTimeout is long: a worker that gives up on a slow dequeue costs the task an
	// attempt. Deliveries have their own timeout.
	readTimeout = 10 * time.Second
	// dialerRetries is one, because commands retry.
	dialerRetries = 1
)

func newSentinelClient(cfg RedisConfig) (redis.UniversalClient, error) {
	opts, err := redis.ParseFailoverURL(cfg.URL)
	if err != nil || opts.MasterName == "" {
		return nil, errors.New("go-redis cannot read the URL for Sentinel; write redis://[user:password@]sentinel-1:26379/0?master_name=mymaster&addr=sentinel-2:26379, " +
			"with Redis's own login as username=… and password=… in the query")
	}
	if opts.ReplicaOnly || opts.RouteByLatency || opts.RouteRandomly || opts.UseDisconnectedReplicas {
		return nil, errReplicas
	}
	if opts.TLSConfig, err = cfg.tls(opts.TLSConfig); err != nil {
		return nil, err
	}
	opts.DialTimeout, opts.ReadTimeout = cmp.Or(opts.DialTimeout, dialTimeout), cmp.Or(opts.ReadTimeout, readTimeout)
	opts.DialerRetries, opts.ContextTimeoutEnabled = dialerRetries, true
	return redis.NewFailoverClient(opts), nil
}

func newClusterClient(cfg RedisConfig) (redis.UniversalClient, error) {
	opts, err := redis.ParseClusterURL(cfg.URL)
	if err != nil {
		return nil, errors.New("go-redis cannot read the URL for a cluster; write redis://[user:password@]node-1:6379?addr=node-2:6379, with options of go-redis in the query")
	}
	if opts.ReadOnly || opts.RouteByLatency || opts.RouteRandomly {
		return nil, errReplicas
	}
	if opts.TLSConfig, err = cfg.tls(opts.TLSConfig); err != nil {
		return nil, err
	}
	opts.DialTimeout, opts.ReadTimeout = cmp.Or(opts.DialTimeout, dialTimeout), cmp.Or(opts.ReadTimeout, readTimeout)
	opts.DialerRetries, opts.ContextTimeoutEnabled = dialerRetries, true
	return redis.NewClusterClient(opts), nil
}

var errReplicas = errors.New("the URL has an option to read from replicas, which lag behind the master; remove it")

// tls adds the files and the server name to go-redis's configuration, which is nil
// without TLS.
func (c RedisConfig) tls(conf *tls.Config) (*tls.Config, error) {
	if conf == nil {
		if c.CA+c.Cert+c.Key+c.ServerName != "" {
			return nil, errors.New("TLS files and a server name need a URL that begins with rediss://")
		}
		return nil, nil
	}
	conf.ServerName = c.ServerName // go-redis would expect every server to have the first one's name
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("read the CA: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no PEM certificate", c.CA)
		}
	}
	if c.Cert == "" {
		return conf, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		return &pair, err
	}
	// Reading the files for each connection allows renewing them without a restart.
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	_, err := load()
	return conf, err
}

// ErrClusterNode reports that a client for one server talks to a node of a cluster.
var ErrClusterNode = errors.New("it is a node of a Redis cluster; set KLINGHOOK_REDIS_MODE=cluster")

// PingRedis fails if Redis does not answer, or if a client for one server talks to a node
// of a cluster, which refuses most keys.
func PingRedis(ctx context.Context, rdb redis.UniversalClient) error {
	if err := rdb.Ping(ctx).Err(); err != nil {
		return err
	}
	if _, cluster := rdb.(*redis.ClusterClient); cluster {
		return nil
	}
	// Without INFO, assume a single server.
	if info, err := rdb.Info(ctx, "cluster").Result(); err == nil && strings.Contains(info, "cluster_enabled:1") {
		return ErrClusterNode
	}
	return nil
}

// readyKey is written by RedisCheck and expires.
const readyKey = "klinghook:ready"

// RedisCheck passes if Redis accepts a write. Redis refuses writes while it loads its data,
// is a replica, is out of memory or cannot save.
func RedisCheck(rdb redis.UniversalClient) Dependency {
	return Dependency{Name: "redis", Probe: func(ctx context.Context) error {
		if err := rdb.Set(ctx, readyKey, 1, time.Minute).Err(); err != nil {
			return fmt.Errorf("write to Redis: %w", err)
		}
		return nil
	}}
}

// RedisLogger logs the messages of go-redis at debug level, since callers get the errors.
type RedisLogger struct{ Log *zap.Logger }

// Printf implements go-redis's logging interface.
func (l RedisLogger) Printf(_ context.Context, format string, v ...any) {
	l.Log.Debug("redis client", zap.String("detail", fmt.Sprintf(format, v...)))
}
