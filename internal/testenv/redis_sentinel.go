package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	// SentinelMaster is the name that the Sentinel has for the servers it watches.
	SentinelMaster = "mymaster"
	sentinelConf   = "sentinel.conf"
)

// SentinelSet is a master with a replica, and a Sentinel that makes the replica the
// master when the master has not answered for a second.
type SentinelSet struct {
	Master, Replica, Sentinel *RedisServer
}

// Sentinel starts a SentinelSet. All three want the password, the servers of that
// user, the Sentinel of its own default one.
func Sentinel(t testing.TB, user, password string) SentinelSet {
	t.Helper()
	login := WithUser(user, password)
	follow := func(s *RedisServer) {
		s.config = append(s.config, "--masteruser", user, "--masterauth", password)
	}
	set := SentinelSet{Master: newRedis(t, login, follow)}
	set.Replica = newRedis(t, login, follow, func(s *RedisServer) {
		s.config = append(s.config, "--replicaof", fmt.Sprintf("127.0.0.1 %d", set.Master.port))
	})
	err := set.Master.await(t.Context(), "INFO replication", func(answer string) bool { return strings.Contains(answer, "state=online") })
	if err != nil {
		t.Fatalf("redis replica: %v", err)
	}
	set.Sentinel = newRedis(t, func(s *RedisServer) {
		s.sentinel, s.password = true, password
		conf := []string{
			"requirepass " + password,
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1", SentinelMaster, set.Master.port),
			fmt.Sprintf("sentinel auth-user %s %s", SentinelMaster, user),
			fmt.Sprintf("sentinel auth-pass %s %s", SentinelMaster, password),
			fmt.Sprintf("sentinel down-after-milliseconds %s 1000", SentinelMaster),
			fmt.Sprintf("sentinel failover-timeout %s 10000", SentinelMaster),
		}
		if err := os.WriteFile(filepath.Join(s.dir, sentinelConf), []byte(strings.Join(conf, "\n")+"\n"), 0o600); err != nil {
			t.Fatalf("redis sentinel: %v", err)
		}
	})
	err = set.Sentinel.await(t.Context(), "INFO sentinel", func(answer string) bool {
		return strings.Contains(answer, "name="+SentinelMaster+",status=ok") && strings.Contains(answer, "slaves=1")
	})
	if err != nil {
		t.Fatalf("redis sentinel: %v", err)
	}
	return set
}
