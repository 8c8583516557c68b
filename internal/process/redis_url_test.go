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

// as returns a client as the kind that it should be.
func as[T redis.UniversalClient](t *testing.T, rdb redis.UniversalClient) T {
	t.Helper()
	client, ok := rdb.(T)
	if !ok {
		t.Fatalf("got a %T", rdb)
	}
	return client
}

func TestNewRedisSentinel(t *testing.T) {
	rdb, err := process.NewRedis("redis-sentinel://worker:p%2Fw@s1:26379/mymaster/3?addr=s2:26379&sentinel_password=other&pool_size=7")
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	opts := as[*redis.Client](t, rdb).Options()
	if opts.Username != "worker" || opts.Password != "p/w" || opts.DB != 3 || opts.PoolSize != 7 || opts.TLSConfig != nil {
		t.Errorf("got %+v", opts)
	}
	if !opts.ContextTimeoutEnabled || opts.DialerRetries != 1 {
		t.Error("commands outlive their context, or dialling is tried again")
	}
}

func TestNewRedisCluster(t *testing.T) {
	rdb, err := process.NewRedis("rediss-cluster://worker:p%2Fw@n1:6379?addr=n2:6379&pool_size=7")
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	opts := as[*redis.ClusterClient](t, rdb).Options()
	if opts.Username != "worker" || opts.Password != "p/w" || opts.PoolSize != 7 || strings.Join(opts.Addrs, " ") != "n1:6379 n2:6379" {
		t.Errorf("got %+v", opts)
	}
	if opts.TLSConfig == nil || opts.TLSConfig.ServerName != "" || opts.TLSConfig.InsecureSkipVerify {
		t.Errorf("TLS is %+v, want that each node is held to its own name", opts.TLSConfig)
	}
	if !opts.ContextTimeoutEnabled || opts.DialerRetries != 1 {
		t.Error("commands outlive their context, or dialling is tried again")
	}
}

func TestNewRedisRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, url, want string }{
		{"a cluster's database", "redis-cluster://n1:6379/1", "a cluster has no databases"},
		{"reading replicas of Sentinels", "redis-sentinel://s1:26379/m?replica_only=true", "replicas"},
		{"routing that would panic", "redis-sentinel://s1:26379/m?route_randomly=true", "replicas"},
		{"reading replicas of a cluster", "redis-cluster://n1:6379?read_only=1", "replicas"},
		{"TLS files without TLS", "redis://h:6379/0?ca_file=/ca.pem", "begin with rediss"},
		{"a CA that is not there", "rediss://h:6379/0?ca_file=/no/such.pem", "ca_file: open /no/such.pem"},
		{"a CA that is none", "rediss://h:6379/0?ca_file=" + empty, "holds no certificate"},
		{"a certificate without its key", "rediss://h:6379/0?cert_file=" + empty, "belong together"},
		{"a certificate that is none", "rediss://h:6379/0?cert_file=" + empty + "&key_file=" + empty, "cert_file and key_file: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rdb, err := process.NewRedis(tt.url)
			if err == nil {
				_ = rdb.Close()
				t.Fatal("it was taken")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func containsAny(text string, pieces []string) bool {
	return slices.ContainsFunc(pieces, func(piece string) bool { return strings.Contains(text, piece) })
}

// TestNewRedisTLS holds that a server is believed for its certificate only, and is
// shown one.
func TestNewRedisTLS(t *testing.T) {
	server := testenv.Redis(t, testenv.WithTLS(), testenv.WithUser("worker", "s3cret"))
	files := server.TLSFiles()
	login, all := "rediss://worker:s3cret@", "ca_file="+files.CA+"&cert_file="+files.Cert+"&key_file="+files.Key
	tests := []struct {
		name, url string
		want      string // a piece of the error, or another behind a |; empty when Redis answers
	}{
		{"all given", login + server.Addr() + "/0?" + all, ""},
		{"the certificate's other name", login + server.Addr() + "/0?server_name=redis.test&" + all, ""},
		{"a name that it has not", login + server.Addr() + "/0?server_name=redis.example&" + all, "not redis.example"},
		{"a CA that is not known", login + server.Addr() + "/0", "unknown authority"},
		{"no certificate of its own", login + server.Addr() + "/0?ca_file=" + files.CA, "certificate required|connection reset by peer|broken pipe"}, // by who is first
		{"a wrong password", "rediss://worker:other@" + server.Addr() + "/0?" + all, "WRONGPASS"},
		{"no TLS", "redis://worker:s3cret@" + server.Addr() + "/0", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rdb, err := process.NewRedis(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			defer rdb.Close()
			err = rdb.Ping(t.Context()).Err()
			switch {
			case tt.name == "no TLS":
				if err == nil {
					t.Error("a server that wants TLS answers without")
				}
			case tt.want == "" && err != nil, tt.want != "" && (err == nil || !containsAny(err.Error(), strings.Split(tt.want, "|"))):
				t.Errorf("Ping = %v, want %q", err, tt.want)
			}
		})
	}
}
