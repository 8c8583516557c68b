package e2e

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// leastRules are what a user of Redis must be allowed for klinghook to work, as
// docs/OPERATIONS.md has them.
func leastRules() []string {
	return []string{"~asynq:*", "~klinghook:*", "&asynq:*", "+@all", "-@admin", "-@dangerous", "+info"}
}

// redisKinds returns an address of each kind of Redis that klinghook can use.
func redisKinds() map[string]func(t *testing.T) string {
	login := testenv.WithUser("klinghook", "p/w", leastRules()...)
	tlsOptions := func(f testenv.TLSFiles) string {
		return "ca_file=" + f.CA + "&cert_file=" + f.Cert + "&key_file=" + f.Key
	}
	return map[string]func(t *testing.T) string{
		"ACL user": func(t *testing.T) string {
			return "redis://klinghook:p%2Fw@" + testenv.Redis(t, login).Addr() + "/0"
		},
		"TLS and ACL user": func(t *testing.T) string {
			s := testenv.Redis(t, login, testenv.WithTLS())
			return "rediss://klinghook:p%2Fw@" + s.Addr() + "/0?" + tlsOptions(s.TLSFiles())
		},
		"cluster": func(t *testing.T) string {
			// With +cluster, which is among the dangerous: the client asks who has which slot.
			nodes := testenv.RedisCluster(t, 3, testenv.WithUser("klinghook", "p/w", append(leastRules(), "+cluster")...))
			return "redis-cluster://klinghook:p%2Fw@" + nodes[0].Addr() + "?addr=" + nodes[1].Addr() + "&addr=" + nodes[2].Addr()
		},
		"Sentinel": func(t *testing.T) string {
			set := testenv.Sentinel(t, "klinghook", "p/w")
			return sentinelURL(set)
		},
	}
}

// sentinelURL is the address of a set whose servers know the user klinghook.
func sentinelURL(set testenv.SentinelSet) string {
	// The second Sentinel is one that is away.
	return "redis-sentinel://klinghook:p%2Fw@127.0.0.1:1/" + testenv.SentinelMaster + "/0?addr=" + set.Sentinel.Addr() + "&sentinel_password=p/w"
}

// TestRedisKinds runs deliveries through ingest, worker and the operator's commands
// on each kind of Redis.
func TestRedisKinds(t *testing.T) {
	for name, address := range redisKinds() {
		t.Run(name, func(t *testing.T) {
			w, bucket := newWorld(t), t.TempDir()
			settings := w.settings("sqlite:"+filepath.Join(t.TempDir(), "k.db"), bucket)
			settings["KLINGHOOK_REDIS_URL"] = address(t)
			settings["KLINGHOOK_DATA"] = t.TempDir()
			if _, err := run(t, settings, "migrate"); err != nil {
				t.Fatal(err)
			}
			ingest := start(t, "klinghook-ingest", settings)
			w.deliver("http://" + ingest.Address("webhooks"))
			worker := start(t, "klinghook", settings, "worker")
			w.check(settings, bucket)
			for what, address := range map[string]string{"ingest": ingest.Address("admin"), "worker": worker.Address("admin")} {
				if status, answer := get(t, "http://"+address+"/readyz"); status != http.StatusOK {
					t.Errorf("%s is not ready: %d %s", what, status, answer)
				}
			}
			// What Redis takes at once does not go to the spool.
			if _, metrics := get(t, "http://"+ingest.Address("admin")+"/metrics"); !strings.Contains(metrics, "klinghook_spool_put_total{outcome=\"stored\"} 0\n") {
				t.Errorf("deliveries went to the spool:\n%s", metrics)
			}
			if out, err := run(t, settings, "deadletters", "list"); err != nil {
				t.Errorf("deadletters list: %v\n%s", err, out)
			}
			worker.Stop()
			ingest.Stop()
		})
	}
}

// TestSentinelFailover kills the master, and holds that what came before, meanwhile
// and afterwards takes effect.
func TestSentinelFailover(t *testing.T) {
	set := testenv.Sentinel(t, "klinghook", "p/w")
	w := newWorld(t)
	settings := w.settings("sqlite:"+filepath.Join(t.TempDir(), "k.db"), t.TempDir())
	settings["KLINGHOOK_REDIS_URL"] = sentinelURL(set)
	settings["KLINGHOOK_SPOOL_DIR"] = filepath.Join(t.TempDir(), "spool")
	if _, err := run(t, settings, "migrate"); err != nil {
		t.Fatal(err)
	}
	ingest, worker := start(t, "klinghook-ingest", settings), start(t, "klinghook", settings, "worker")
	base := "http://" + ingest.Address("webhooks")
	recorded := func(job, want string) {
		t.Helper()
		eventually(t, "job "+job, func() (bool, string) {
			shown, err := showJob(t, settings, job)
			if err != nil {
				return false, err.Error()
			}
			return strings.TrimSpace(shown.summary()) == want, shown.summary()
		})
	}
	for i, job := range []string{"vid_before", "vid_meanwhile", "vid_after"} {
		if i == 1 {
			set.Master.Kill()
		}
		for _, d := range []request{w.seed("video.created", 25, job, ""), w.seed("video.failed", 27, job, "")} {
			if status, answer := w.post(base, d); status != http.StatusOK {
				t.Errorf("%s: %d %s, want 200", job, status, answer)
			}
		}
		recorded(job, "failed, 2 events: video.failed sent")
	}
	worker.Stop()
	ingest.Stop()
}

// get returns what a GET is answered.
func get(t *testing.T, url string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(content)
}
