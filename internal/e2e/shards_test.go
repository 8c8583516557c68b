package e2e

import (
	"fmt"
	"maps"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// TestEventShards spreads events over the masters of a cluster, and delivers them again
// to an ingest with another number of shards: every effect is there once.
func TestEventShards(t *testing.T) {
	nodes := testenv.RedisCluster(t, 3)
	w, bucket := newWorld(t), t.TempDir()
	settings := w.settings("sqlite:"+filepath.Join(t.TempDir(), "k.db"), bucket)
	settings["KLINGHOOK_REDIS_URL"] = "redis-cluster://" + nodes[0].Addr() + "?addr=" + nodes[1].Addr() + "&addr=" + nodes[2].Addr()
	settings["KLINGHOOK_DATA"] = t.TempDir()
	if _, err := run(t, settings, "migrate"); err != nil {
		t.Fatal(err)
	}
	spread := maps.Clone(settings)
	spread["KLINGHOOK_EVENT_SHARDS"] = "3"

	ingest := start(t, "klinghook-ingest", spread)
	w.deliver("http://" + ingest.Address("webhooks"))
	total, used := 0, 0
	for _, node := range nodes {
		if n := eventsOn(t, node.Addr()); n > 0 {
			total += n
			used++
		}
	}
	if total != len(w.deliveries()) || used < 2 {
		t.Errorf("%d events wait on %d nodes, want %d on more than one", total, used, len(w.deliveries()))
	}

	worker := start(t, "klinghook", spread, "worker")
	w.check(settings, bucket)

	// An ingest still has the old setting; every event is delivered again.
	one := start(t, "klinghook-ingest", withSpool(t, settings))
	again := start(t, "klinghook", spread, "worker")
	w.deliver("http://" + one.Address("webhooks"))
	w.deliver("http://" + ingest.Address("webhooks"))
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr()}})
	defer func() { _ = cluster.Close() }()
	eventually(t, "the queues to be empty", func() (bool, string) {
		left := map[string]int64{}
		for _, queue := range tasks.EventQueues(3) {
			for _, list := range []string{"pending", "active"} {
				n, err := cluster.LLen(t.Context(), "asynq:{"+queue+"}:"+list).Result()
				if err != nil {
					return false, err.Error()
				}
				if n > 0 {
					left[queue+" "+list] = n
				}
			}
		}
		return len(left) == 0, fmt.Sprint(left)
	})
	w.check(settings, bucket)
	for _, process := range []interface{ Stop() }{worker, again, one, ingest} {
		process.Stop()
	}
}

// withSpool returns the settings for another process on this machine.
func withSpool(t *testing.T, settings map[string]string) map[string]string {
	t.Helper()
	other := maps.Clone(settings)
	other["KLINGHOOK_SPOOL_DIR"] = filepath.Join(t.TempDir(), "spool")
	return other
}

// eventsOn counts the tasks that a node of a cluster has of events.
func eventsOn(t *testing.T, addr string) (n int) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = rdb.Close() }()
	keys := rdb.Scan(t.Context(), 0, "asynq:{events*}:t:*", 1000).Iterator()
	for keys.Next(t.Context()) {
		n++
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}
