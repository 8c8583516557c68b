package testenv

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// RedisCluster starts a cluster of masters, each with its share of the slots. The
// options are for each of them.
func RedisCluster(t testing.TB, masters int, opts ...RedisOption) []*RedisServer {
	t.Helper()
	nodes := make([]*RedisServer, masters)
	for i := range nodes {
		nodes[i] = newRedis(t, append([]RedisOption{WithCluster()}, opts...)...)
	}
	if err := takeSlots(t.Context(), nodes); err != nil {
		t.Fatalf("redis cluster: %v", err)
	}
	return nodes
}

// slots is how many a cluster has.
const slots = 16384

// takeSlots deals all slots out to the nodes, makes them know each other, and waits
// until each says that the cluster is whole.
func takeSlots(ctx context.Context, nodes []*RedisServer) error {
	for i, node := range nodes {
		first, last := i*slots/len(nodes), (i+1)*slots/len(nodes)-1
		commands := []string{fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", first, last)}
		if i > 0 {
			commands = append(commands, fmt.Sprintf("CLUSTER MEET 127.0.0.1 %d", nodes[0].port))
		}
		answer, err := node.ask(ctx, commands...)
		if err == nil && strings.Contains("\r\n"+answer, "\r\n-") {
			err = fmt.Errorf("%q: %s", commands, answer)
		}
		if err != nil {
			return err
		}
	}
	known := fmt.Sprintf("cluster_known_nodes:%d\r\n", len(nodes))
	for _, node := range nodes {
		err := node.await(ctx, "CLUSTER INFO", func(answer string) bool {
			return strings.Contains(answer, "cluster_state:ok") && strings.Contains(answer, known)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
