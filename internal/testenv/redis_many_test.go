package testenv

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestRedisTLSAndUser(t *testing.T) {
	s := Redis(t, WithTLS(), WithUser("worker", "s3cret", "~own:*", "+@all"))
	client := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "worker", Password: "s3cret", TLSConfig: s.tls.config})
	t.Cleanup(func() { _ = client.Close() })
	if err := client.Set(t.Context(), "own:key", 1, 0).Err(); err != nil {
		t.Error(err)
	}
	if err := client.Set(t.Context(), "key", 1, 0).Err(); !redis.IsPermissionError(err) {
		t.Errorf("a forbidden key: %v", err)
	}
	nobody := redis.NewClient(&redis.Options{Addr: s.Addr(), TLSConfig: s.tls.config, MaxRetries: -1})
	t.Cleanup(func() { _ = nobody.Close() })
	if err := nobody.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without a login: %v, want NOAUTH", err)
	}
	s.Restart() // It waits for an answer over TLS.
}

func TestRedisCluster(t *testing.T) {
	nodes := RedisCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[1].Addr()}})
	t.Cleanup(func() { _ = client.Close() })
	owners := map[string]bool{}
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := client.Set(t.Context(), key, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
		node, err := client.MasterForKey(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		owners[node.Options().Addr] = true
	}
	if len(owners) != 3 {
		t.Errorf("keys lie on %v, want all three nodes", owners)
	}
}

func TestSentinel(t *testing.T) {
	set := Sentinel(t, "worker", "s3cret")
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: SentinelMaster, SentinelAddrs: []string{set.Sentinel.Addr()}, SentinelPassword: "s3cret", Username: "worker", Password: "s3cret",
	})
	t.Cleanup(func() { _ = client.Close() })
	if err := client.Set(t.Context(), "key", "kept", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Wait(t.Context(), 1, time.Minute).Result(); n != 1 {
		t.Fatalf("%d replicas have the key: %v", n, err)
	}
	set.Master.Kill()
	for deadline := time.Now().Add(startTimeout); ; {
		err := client.Set(t.Context(), "other", 1, 0).Err()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if got, err := client.Get(t.Context(), "key").Result(); got != "kept" {
		t.Errorf("the new master has %q, %v", got, err)
	}
}
