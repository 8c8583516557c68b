package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// leastRules are the least that a user of Redis must be allowed, as in
// docs/operations.md.
func leastRules() []string {
	return []string{"~asynq:*", "~klinghook:*", "&asynq:*", "+@all", "-@admin", "-@dangerous", "+info"}
}

// sentinel returns the settings of a set with the user klinghook. The first Sentinel is
// down.
func sentinel(set testenv.SentinelSet) map[string]string {
	return map[string]string{
		"KLINGHOOK_REDIS_MODE": "sentinel",
		"KLINGHOOK_REDIS_URL":  "redis://:p%2Fw@127.0.0.1:1/0?master_name=" + testenv.SentinelMaster + "&addr=" + set.Sentinel.Addr() + "&username=klinghook&password=p%2Fw",
	}
}

func cluster(login string, nodes []*testenv.RedisServer) map[string]string {
	return map[string]string{
		"KLINGHOOK_REDIS_MODE": "cluster",
		"KLINGHOOK_REDIS_URL":  "redis://" + login + nodes[0].Addr() + "?addr=" + nodes[1].Addr() + "&addr=" + nodes[2].Addr(),
	}
}

// TestRedisKinds runs ingest, a worker and commands on each kind of Redis.
func TestRedisKinds(t *testing.T) {
	login := testenv.WithUser("klinghook", "p/w", leastRules()...)
	for name, settings := range map[string]func(t *testing.T) map[string]string{
		"ACL user": func(t *testing.T) map[string]string {
			return map[string]string{"KLINGHOOK_REDIS_URL": "redis://klinghook:p%2Fw@" + testenv.Redis(t, login).Addr() + "/0"}
		},
		"TLS and ACL user": func(t *testing.T) map[string]string {
			s := testenv.Redis(t, login, testenv.WithTLS())
			f := s.TLSFiles()
			return map[string]string{
				"KLINGHOOK_REDIS_URL":    "rediss://klinghook:p%2Fw@" + s.Addr() + "/0",
				"KLINGHOOK_REDIS_TLS_CA": f.CA, "KLINGHOOK_REDIS_TLS_CERT": f.Cert, "KLINGHOOK_REDIS_TLS_KEY": f.Key,
			}
		},
		"cluster": func(t *testing.T) map[string]string {
			// +cluster is one of the dangerous commands: clients ask which node has a slot.
			nodes := testenv.RedisCluster(t, 3, testenv.WithUser("klinghook", "p/w", append(leastRules(), "+cluster")...))
			return cluster("klinghook:p%2Fw@", nodes)
		},
		"Sentinel": func(t *testing.T) map[string]string { return sentinel(testenv.Sentinel(t, "klinghook", "p/w")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			maps.Copy(w.settings, settings(t))
			w.migrate()
			base, ingest, worker := w.startAll()
			w.deliver(base)
			w.check(false)
			for _, s := range []*service{ingest, worker} {
				if status, answer, err := get(t.Context(), "http://"+s.address("admin")+"/readyz"); err != nil || status != http.StatusOK {
					t.Errorf("%s is not ready: %d %s, %v", s.name, status, answer, err)
				}
			}
			_, metrics, err := get(t.Context(), "http://"+ingest.address("admin")+"/metrics")
			if err != nil || !strings.Contains(metrics, "klinghook_spool_put_total{outcome=\"stored\"} 0\n") {
				t.Errorf("deliveries went to the spool: %v\n%s", err, metrics)
			}
			w.mustRun("deadletters", "list")
		})
	}
}

// TestSentinelFailoverLosesNothing kills the master between deliveries.
func TestSentinelFailoverLosesNothing(t *testing.T) {
	set := testenv.Sentinel(t, "klinghook", "p/w")
	w := newWorld(t)
	maps.Copy(w.settings, sentinel(set))
	w.migrate()
	base, _, _ := w.startAll()
	for i, job := range []string{"vid_before", "vid_meanwhile", "vid_after"} {
		if i == 1 {
			set.Master.Kill()
		}
		w.accept(base, seed(created, 25, job, ""))
		w.accept(base, seed(failed, 27, job, ""))
		w.awaitJob(job, "failed, 2 events: video.failed sent")
	}
}

// TestEventShardsSpreadOverCluster spreads events over the masters of a cluster, and
// delivers them again to an ingest with another number of shards.
func TestEventShardsSpreadOverCluster(t *testing.T) {
	nodes := testenv.RedisCluster(t, 3)
	w := newWorld(t)
	maps.Copy(w.settings, cluster("", nodes))
	w.migrate()
	spread := maps.Clone(w.settings)
	spread["KLINGHOOK_EVENT_SHARDS"] = "3"

	ingest := start(t, ingestProgram, spread)
	w.deliver(ingest.url())
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

	start(t, klinghook, spread, "worker")
	w.check(false)

	one := maps.Clone(w.settings)
	one["KLINGHOOK_SPOOL_DIR"] = filepath.Join(w.dir, "spool")
	start(t, klinghook, spread, "worker")
	w.deliver(start(t, ingestProgram, one).url())
	w.deliver(ingest.url())
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr()}})
	defer func() { _ = cluster.Close() }()
	eventually(t, "the queues to be empty", func() (bool, string) {
		left := int64(0)
		for _, queue := range tasks.EventQueues(3) {
			for _, list := range []string{"pending", "active"} {
				n, err := cluster.LLen(t.Context(), "asynq:{"+queue+"}:"+list).Result()
				if err != nil {
					return false, err.Error()
				}
				left += n
			}
		}
		return left == 0, fmt.Sprint(left, " tasks left")
	})
	w.check(false)
}

// eventsOn counts the events on a node of a cluster.
func eventsOn(t *testing.T, addr string) (n int) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = rdb.Close() }()
	keys := rdb.Scan(t.Context(), 0, "asynq:{events*}:t:*", 1000).Iterator()
	for keys.Next(t.Context()) {
		n++
	}
	noError(t, keys.Err())
	return n
}
