package e2e

import (
	"maps"
	"net/http"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// aclRules are the ACL rules that klinghook's Redis user needs, as in
// docs/operations.md.
func aclRules() []string {
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
	t.Parallel()
	login := testenv.WithUser("klinghook", "p/w", aclRules()...)
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
			nodes := testenv.RedisCluster(t, 3, testenv.WithUser("klinghook", "p/w", append(aclRules(), "+cluster")...))
			settings := cluster("klinghook:p%2Fw@", nodes)
			settings["KLINGHOOK_EVENT_SHARDS"] = "3"
			return settings
		},
		"Sentinel": func(t *testing.T) map[string]string { return sentinel(testenv.Sentinel(t, "klinghook", "p/w")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			maps.Copy(w.settings, settings(t))
			w.settings["KLINGHOOK_QUEUE_TIMEOUT"] = "2s" // a busy machine delays Redis
			w.openRedis()
			w.migrate()
			base, ingest, worker := w.startAll()
			w.deliver(base)
			w.check()
			for _, s := range []*service{ingest, worker} {
				if status, answer, err := get(w.ctx, "http://"+s.address("metrics")+"/readyz"); err != nil || status != http.StatusOK {
					t.Errorf("%s is not ready: %d %s, %v", s.name, status, answer, err)
				}
			}
			_, metrics, err := get(w.ctx, "http://"+ingest.address("metrics")+"/metrics")
			testenv.NoError(t, err)
			if n := metric(t, metrics, `klinghook_spool_put_total{outcome="stored"}`); n != 0 {
				t.Errorf("%d deliveries went to the spool", n)
			}
			w.mustRun("deadletters", "list")
		})
	}
}

// TestSentinelFailoverLosesNothing kills the master between deliveries.
func TestSentinelFailoverLosesNothing(t *testing.T) {
	t.Parallel()
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
