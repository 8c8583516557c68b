package process

import (
	"fmt"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
)

func dialRedis(t *testing.T, addr string) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// setMemory makes a Redis use this many percent of its limit; 0 removes the limit.
func setMemory(t *testing.T, rdb *redis.Client, percent uint64, policy string) {
	t.Helper()
	used, _, _ := parseMemory(rdb.Info(t.Context(), "memory").Val())
	limit := uint64(0)
	if percent > 0 {
		limit = used * 100 / percent
	}
	// Only writes evict keys.
	testenv.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory-policy", policy).Err())
	testenv.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(limit)).Err())
}

func TestRedisHealthReportsNearlyFullMemory(t *testing.T) {
	server := testenv.Redis(t)
	rdb := dialRedis(t, server.Addr())
	health := RedisHealth(rdb)
	// Compared with this, the memory of a connection is negligible.
	testenv.NoError(t, rdb.Set(t.Context(), "large", make([]byte, 32<<20), 0).Err())
	for _, tt := range []struct { // in this order
		name    string
		percent uint64
		policy  string
		wantErr bool
	}{
		{"no limit", 0, "noeviction", false},
		{"far below", 10, "noeviction", false},
		{"above 90 %", 95, "noeviction", true},
		{"below 90 %, not yet below 85 %", 88, "noeviction", true},
		{"below 85 %", 70, "noeviction", false},
		{"not yet above 90 %", 88, "noeviction", false},
		{"evicting some keys", 99, "volatile-lru", true},
		{"evicting all keys", 99, "allkeys-lru", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			setMemory(t, rdb, tt.percent, tt.policy)
			if err := health(t.Context()); (err != nil) != tt.wantErr {
				t.Errorf("error %v, want one: %t", err, tt.wantErr)
			}
		})
	}
	server.Kill()
	if err := health(t.Context()); err == nil {
		t.Error("no error when Redis is gone")
	}
}

func TestRedisHealthInClusterFindsTheFullMaster(t *testing.T) {
	nodes := testenv.RedisCluster(t, 3)
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr()}})
	t.Cleanup(func() { _ = rdb.Close() })
	health := RedisHealth(rdb)
	testenv.NoError(t, health(t.Context()))
	setMemory(t, dialRedis(t, nodes[2].Addr()), 200, "noeviction")
	if err := health(t.Context()); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("with a full master: %v", err)
	}
}

func TestRedisHealthWithoutInfoDependsOnTheWrite(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := dialRedis(t, server.Addr())
	for reply, wantErr := range map[string]bool{
		"NOPERM this user has no permissions to run the 'info' command": false,
		"ERR unknown command 'INFO'":                                    false,
		"NOAUTH Authentication required.":                               true,
		"LOADING Redis is loading the dataset in memory":                true,
	} {
		server.SetError(reply)
		if _, err := fullest(t.Context(), rdb); (err != nil) != wantErr {
			t.Errorf("%s: error %v, want one: %t", reply, err, wantErr)
		}
	}
}
