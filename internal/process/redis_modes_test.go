package process_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/testenv"
)

func as[T redis.UniversalClient](t *testing.T, rdb redis.UniversalClient) T {
	t.Helper()
	client, ok := rdb.(T)
	if !ok {
		t.Fatalf("got a %T", rdb)
	}
	return client
}

func TestNewRedisSentinel(t *testing.T) {
	rdb, err := process.NewRedis(process.RedisConfig{
		Mode: process.RedisSentinel,
		URL:  "redis://sentinel:other@s1:26379/3?master_name=mymaster&addr=s2:26379&username=worker&password=p%2Fw&pool_size=7",
	})
	testenv.NoError(t, err)
	defer rdb.Close()
	opts := as[*redis.Client](t, rdb).Options()
	if opts.Username != "worker" || opts.Password != "p/w" || opts.DB != 3 || opts.PoolSize != 7 || opts.TLSConfig != nil {
		t.Errorf("got %+v", opts)
	}
	if !opts.ContextTimeoutEnabled || opts.DialerRetries != 1 {
		t.Error("commands outlive their context, or dialing is retried")
	}
}

func TestNewRedisCluster(t *testing.T) {
	rdb, err := process.NewRedis(process.RedisConfig{Mode: process.RedisCluster, URL: "rediss://worker:p%2Fw@n1:6379?addr=n2:6379&pool_size=7"})
	testenv.NoError(t, err)
	defer rdb.Close()
	opts := as[*redis.ClusterClient](t, rdb).Options()
	if opts.Username != "worker" || opts.Password != "p/w" || opts.PoolSize != 7 || strings.Join(opts.Addrs, " ") != "n1:6379 n2:6379" {
		t.Errorf("got %+v", opts)
	}
	if opts.TLSConfig == nil || opts.TLSConfig.ServerName != "" || opts.TLSConfig.InsecureSkipVerify {
		t.Errorf("TLS is %+v, want each node checked by its own name", opts.TLSConfig)
	}
	if !opts.ContextTimeoutEnabled || opts.DialerRetries != 1 {
		t.Error("commands outlive their context, or dialing is retried")
	}
}

func TestNewRedisRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	testenv.NoError(t, os.WriteFile(empty, []byte("nothing\n"), 0o600))
	tests := []struct {
		name string
		give process.RedisConfig
		want string
	}{
		{"reading replicas of Sentinels", process.RedisConfig{Mode: process.RedisSentinel, URL: "redis://s1:26379?master_name=m&replica_only=true"}, "replicas"},
		{"routing that would panic", process.RedisConfig{Mode: process.RedisSentinel, URL: "redis://s1:26379?master_name=m&route_randomly=true"}, "replicas"},
		{"reading replicas of a cluster", process.RedisConfig{Mode: process.RedisCluster, URL: "redis://n1:6379?read_only=1"}, "replicas"},
		{"no master", process.RedisConfig{Mode: process.RedisSentinel, URL: "redis://s1:26379"}, "master_name=mymaster"},
		{"TLS files without TLS", process.RedisConfig{URL: "redis://h:6379/0", CA: "/ca.pem"}, "rediss://"},
		{"a missing CA", process.RedisConfig{URL: "rediss://h:6379/0", CA: "/no/such.pem"}, "open /no/such.pem"},
		{"a CA without a certificate", process.RedisConfig{URL: "rediss://h:6379/0", CA: empty}, "has no PEM certificate"},
		{"a certificate without its key", process.RedisConfig{URL: "rediss://h:6379/0", Cert: empty}, "open : no such file"},
		{"a bad certificate", process.RedisConfig{URL: "rediss://h:6379/0", Cert: empty, Key: empty}, "failed to find any PEM data"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rdb, err := process.NewRedis(tt.give)
			if err == nil {
				_ = rdb.Close()
				t.Fatal("it is accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// Both sides check the other's certificate.
func TestNewRedisTLS(t *testing.T) {
	server := testenv.Redis(t, testenv.WithTLS(), testenv.WithUser("worker", "s3cret"))
	files := server.TLSFiles()
	url := "rediss://worker:s3cret@" + server.Addr() + "/0"
	with := func(url, serverName string) process.RedisConfig {
		return process.RedisConfig{URL: url, CA: files.CA, Cert: files.Cert, Key: files.Key, ServerName: serverName}
	}
	tests := []struct {
		name string
		give process.RedisConfig
		want []string // one of them is in the error; none if Redis answers
	}{
		{"all files", with(url, ""), nil},
		{"the certificate's other name", with(url, "redis.test"), nil},
		{"a wrong name", with(url, "redis.example"), []string{"not redis.example"}},
		{"an unknown CA", process.RedisConfig{URL: url}, []string{"unknown authority"}},
		{"no client certificate", process.RedisConfig{URL: url, CA: files.CA}, []string{"certificate required", "connection reset by peer", "broken pipe"}},
		{"a wrong password", with("rediss://worker:other@"+server.Addr()+"/0", ""), []string{"WRONGPASS"}},
		{"no TLS", process.RedisConfig{URL: "redis://worker:s3cret@" + server.Addr() + "/0"}, []string{""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rdb, err := process.NewRedis(tt.give)
			testenv.NoError(t, err)
			defer rdb.Close()
			err = rdb.Ping(t.Context()).Err()
			if (err == nil) != (tt.want == nil) || err != nil && !slices.ContainsFunc(tt.want, func(part string) bool { return strings.Contains(err.Error(), part) }) {
				t.Errorf("Ping = %v, want one of %q", err, tt.want)
			}
		})
	}
}
