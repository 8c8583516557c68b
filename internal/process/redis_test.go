package process_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/testenv"
)

func TestNewRedis(t *testing.T) {
	type form struct {
		Network, Addr, Username, Password string
		DB                                int
		TLS                               bool
		DialTimeout                       time.Duration
		PoolSize                          int // 0 means any
	}
	tests := []struct {
		name, url string
		want      form
	}{
		{"plain", "redis://redis.internal", form{Network: "tcp", Addr: "redis.internal:6379", DialTimeout: 2 * time.Second}},
		{"port and database", "redis://127.0.0.1:6380/7", form{Network: "tcp", Addr: "127.0.0.1:6380", DB: 7, DialTimeout: 2 * time.Second}},
		{"password", "redis://:p%2Fw@host:1/0", form{Network: "tcp", Addr: "host:1", Password: "p/w", DialTimeout: 2 * time.Second}},
		{"ACL user", "redis://worker:pw@[::1]:6379/0", form{Network: "tcp", Addr: "[::1]:6379", Username: "worker", Password: "pw", DialTimeout: 2 * time.Second}},
		{"TLS", "rediss://worker:pw@redis.internal:6380/1", form{Network: "tcp", Addr: "redis.internal:6380", Username: "worker", Password: "pw", DB: 1, TLS: true, DialTimeout: 2 * time.Second}},
		{"Unix socket", "unix:///run/redis/redis.sock?db=3", form{Network: "unix", Addr: "/run/redis/redis.sock", DB: 3, DialTimeout: 2 * time.Second}},
		{"Unix socket with a user", "unix://worker:pw@/run/redis.sock", form{Network: "unix", Addr: "/run/redis.sock", Username: "worker", Password: "pw", DialTimeout: 2 * time.Second}},
		{"options", "redis://h:1/0?dial_timeout=7s&pool_size=50", form{Network: "tcp", Addr: "h:1", DialTimeout: 7 * time.Second, PoolSize: 50}},
		{"an option's name as the password", "redis://:dial_timeout=9@h:1/0", form{Network: "tcp", Addr: "h:1", Password: "dial_timeout=9", DialTimeout: 2 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rdb, err := process.NewRedis(process.RedisConfig{URL: tt.url})
			testenv.NoError(t, err)
			defer rdb.Close()
			opts := as[*redis.Client](t, rdb).Options()
			got := form{Network: opts.Network, Addr: opts.Addr, Username: opts.Username, Password: opts.Password, DB: opts.DB, DialTimeout: opts.DialTimeout}
			got.TLS = opts.TLSConfig != nil
			if got.TLS && opts.TLSConfig.InsecureSkipVerify {
				t.Error("the server's certificate is not checked")
			}
			if tt.want.PoolSize != 0 {
				got.PoolSize = opts.PoolSize
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if !opts.ContextTimeoutEnabled {
				t.Error("commands outlive their context")
			}
		})
	}
}

// A password may be in any part of a URL that cannot be read.
func TestNewRedisShowsNoPassword(t *testing.T) {
	for mode, urls := range map[string][]string{
		process.RedisSingle: {
			"", "hunter2", "http://user:hunter2@host:6379", "redis://user:hunter2@host:port", "redis://user:hunter2@host:6379/hunter2",
			"redis://user:hun/hunter2@host:6379/0", "redis://user:1?hunter2@host:6379/0", "redis://user:%hunter2@host:6379/0",
			"redis://host:6379/0?password=hunter2", "redis://host:6379/0?pool_size=hunter2", "unix://hunter2", "redis://user:hunter2\x7f@host:6379",
		},
		process.RedisSentinel: {
			"redis://user:hunter2@host:26379", "redis://user:hunter2@host:26379/hunter2?master_name=m", "redis://host:26379/0?master_name=m&addr=hunter2",
		},
		process.RedisCluster: {"redis://user:hunter2@host:6379?addr=hunter2", "http://user:hunter2@host"},
	} {
		for _, url := range urls {
			rdb, err := process.NewRedis(process.RedisConfig{URL: url, Mode: mode})
			if err == nil {
				t.Errorf("%s %q is accepted", mode, url)
				_ = rdb.Close()
				continue
			}
			if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "write redis://") {
				t.Errorf("%s %q: %v, want what to write and no password", mode, url, err)
			}
		}
	}
}

func TestRedisCheck(t *testing.T) {
	server := miniredis.RunT(t)
	rdb, err := process.NewRedis(process.RedisConfig{URL: "redis://" + server.Addr() + "/0?max_retries=-1"})
	testenv.NoError(t, err)
	defer rdb.Close()
	probe := process.RedisCheck(rdb)
	if err := probe.Probe(t.Context()); err != nil || probe.Name != "redis" {
		t.Errorf("%s: %v", probe.Name, err)
	}
	server.SetError("LOADING Redis is loading the dataset in memory")
	if err := probe.Probe(t.Context()); err == nil {
		t.Error("passes while Redis loads")
	}
	server.Close()
	if err := probe.Probe(t.Context()); err == nil {
		t.Error("passes without Redis")
	}
}

// The server accepts connections and never answers.
func TestRedisCheckEndsWithItsContext(t *testing.T) {
	var lc net.ListenConfig
	silent, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	testenv.NoError(t, err)
	defer silent.Close()
	rdb, err := process.NewRedis(process.RedisConfig{URL: "redis://" + silent.Addr().String() + "/0?read_timeout=1h"})
	testenv.NoError(t, err)
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- process.RedisCheck(rdb).Probe(ctx) }()
	if err := receive(t, result, "the probe's end"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}
