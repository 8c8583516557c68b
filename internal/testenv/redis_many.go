package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// RedisCluster starts a cluster of masters, each with its share of the slots. The
// options apply to each of them.
func RedisCluster(t testing.TB, masters int, opts ...RedisOption) []*RedisServer {
	t.Helper()
	nodes := make([]*RedisServer, masters)
	for i := range nodes {
		nodes[i] = newRedis(t, append([]RedisOption{WithCluster()}, opts...)...)
	}
	if err := assignSlots(t.Context(), nodes); err != nil {
		t.Fatalf("redis cluster: %v", err)
	}
	return nodes
}

// assignSlots assigns all slots, introduces the nodes to each other, and waits until
// each reports a complete cluster.
func assignSlots(ctx context.Context, nodes []*RedisServer) error {
	const slots = 16384
	for i, node := range nodes {
		first, last := i*slots/len(nodes), (i+1)*slots/len(nodes)-1
		if _, err := node.ask(ctx, "CLUSTER", "ADDSLOTSRANGE", first, last); err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		if _, err := node.ask(ctx, "CLUSTER", "MEET", "127.0.0.1", nodes[0].port); err != nil {
			return err
		}
	}
	known := fmt.Sprintf("cluster_known_nodes:%d\r\n", len(nodes))
	complete := func(info string) bool {
		return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, known)
	}
	for _, node := range nodes {
		if err := node.await(ctx, complete, "CLUSTER", "INFO"); err != nil {
			return err
		}
	}
	return nil
}

const (
	// SentinelMaster is the Sentinel's name for the servers that it monitors.
	SentinelMaster = "mymaster"
	sentinelConf   = "sentinel.conf"
)

// SentinelSet is a master with a replica, and a Sentinel that promotes the replica
// when the master has not answered for a second.
type SentinelSet struct {
	Master, Replica, Sentinel *RedisServer
}

// Sentinel starts a SentinelSet. The servers require the user and password, the
// Sentinel only the password.
func Sentinel(t testing.TB, user, password string) SentinelSet {
	t.Helper()
	login := []RedisOption{WithUser(user, password), with("--masteruser", user, "--masterauth", password)}
	set := SentinelSet{Master: newRedis(t, login...)}
	set.Replica = newRedis(t, append(login, with("--replicaof", fmt.Sprintf("127.0.0.1 %d", set.Master.port)))...)
	set.Master.must(set.Master.await(t.Context(), func(info string) bool { return strings.Contains(info, "state=online") }, "INFO", "replication"))
	set.Sentinel = newRedis(t, func(s *RedisServer) {
		s.sentinel, s.password = true, password
		conf := fmt.Sprintf("requirepass %[2]s\n"+
			"sentinel monitor %[1]s 127.0.0.1 %[4]d 1\n"+
			"sentinel auth-user %[1]s %[3]s\n"+
			"sentinel auth-pass %[1]s %[2]s\n"+
			"sentinel down-after-milliseconds %[1]s 1000\n"+
			"sentinel failover-timeout %[1]s 10000\n", SentinelMaster, password, user, set.Master.port)
		s.must(os.WriteFile(filepath.Join(s.dir, sentinelConf), []byte(conf), 0o600))
	})
	set.Sentinel.must(set.Sentinel.await(t.Context(), func(info string) bool {
		return strings.Contains(info, "name="+SentinelMaster+",status=ok") && strings.Contains(info, "slaves=1")
	}, "INFO", "sentinel"))
	return set
}
