package chaos

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver
	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/internal/programs"
	"github.com/klinghook/klinghook/internal/testenv"
)

// workers and ingests are how many processes of each a system has.
const (
	ingests = 2
	workers = 2
)

// system is klinghook as it is run for real, with everything around it.
type system struct {
	t   *testing.T
	ctx context.Context
	rng *rand.Rand
	set *programs.Set
	// dir holds what the processes write; it is kept when the scenario fails.
	dir string

	redis    *testenv.RedisServer
	rdb      *redis.Client
	postgres *testenv.PostgresCluster
	db       *sql.DB
	media    *mediaServer
	receiver *receiver
	bucket   string

	ingests []*supervised
	workers []*supervised
	admins  []string // the private addresses of the ingest processes
	sender  *sender
	script  *script

	// lost is what the documentation says is lost in this scenario.
	lost map[string]bool
}

// layout is what a scenario wants to be otherwise than usual.
type layout struct {
	// spools are the spool directories of the ingest processes, and bucket that of
	// the media; by default folders of the scenario's own.
	spools [ingests]string
	bucket string
	// worker2 is the set that the second worker is of; default that of the others.
	worker2 *programs.Set
	// dev has everything in one process instead, with the queue in memory.
	dev bool
}

// newSystem starts everything. ctx ends the scenario.
func newSystem(ctx context.Context, t *testing.T, set *programs.Set, seed uint64, l layout) *system {
	s := &system{t: t, ctx: ctx, set: set, dir: artifacts(t), rng: rand.New(rand.NewPCG(seed, 1))}
	s.media, s.receiver = newMediaServer(t, seed), newReceiver(t, seed)
	s.bucket = l.bucket
	if s.bucket == "" {
		s.bucket = filepath.Join(s.dir, "media")
	}
	var targets []string
	if l.dev {
		targets = s.startDev()
	} else {
		targets = s.startAll(l)
	}
	s.sender = newSender(targets)
	t.Cleanup(s.sender.client.CloseIdleConnections)
	s.script = &script{rng: s.rng, media: s.media.address(), prefix: "job"}
	s.awaitListening()
	return s
}

// startAll starts the servers, two ingest processes and two workers, and returns
// where deliveries go.
func (s *system) startAll(l layout) (targets []string) {
	s.redis = testenv.Redis(s.t, testenv.WithAOF("always"))
	s.rdb = redis.NewClient(&redis.Options{Addr: s.redis.Addr()})
	s.t.Cleanup(func() { _ = s.rdb.Close() })
	s.postgres = testenv.PostgresServer(s.t)
	s.openDatabase("pgx", s.postgres.URL())
	if _, err := s.set.Run(s.ctx, s.settings(), "migrate"); err != nil {
		s.t.Fatal(err)
	}
	for i := range ingests {
		targets = append(targets, s.startIngest(i, l.spools[i]))
	}
	for i := range workers {
		of := s.set
		if i == 1 && l.worker2 != nil {
			of = l.worker2
		}
		s.workers = append(s.workers, s.startWorker(i, of))
	}
	return targets
}

// openDatabase opens what the suite itself reads.
func (s *system) openDatabase(driver, source string) {
	var err error
	if s.db, err = sql.Open(driver, source); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.db.Close() })
}

// artifacts returns a folder that outlives a failed test.
func artifacts(t *testing.T) string {
	dir, err := os.MkdirTemp("", "klinghook-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the processes' logs are kept in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// settings are those of the commands and the workers.
func (s *system) settings() map[string]string {
	settings := map[string]string{
		"KLINGHOOK_BUCKET_URL":     "file://" + s.bucket,
		"KLINGHOOK_MEDIA_ALLOW":    s.media.address(),
		"KLINGHOOK_FORWARD_URLS":   s.receiver.server.URL,
		"KLINGHOOK_FORWARD_SECRET": "whsec_" + base64.StdEncoding.EncodeToString([]byte(forwardKey)),
		"KLINGHOOK_LOG_FORMAT":     "json",
		"KLINGHOOK_GRACE":          "5s",
		"KLINGHOOK_ADMIN_ADDR":     "127.0.0.1:0",
	}
	if s.redis == nil {
		settings["KLINGHOOK_DATA"] = filepath.Join(s.dir, "data")
		return settings
	}
	settings["KLINGHOOK_REDIS_URL"], settings["KLINGHOOK_DATABASE_URL"] = s.redis.URL(), s.postgres.URL()
	return settings
}

// secrets are those of the deliveries.
func secrets() map[string]string {
	return map[string]string{
		"KLINGAI_WEBHOOK_SECRET":          seedSecret,
		"KLINGAI_OFFICIAL_WEBHOOK_SECRET": "whsec_" + base64.StdEncoding.EncodeToString([]byte(officialKey)),
	}
}

// startIngest starts an ingest process with a spool and returns its base URL.
func (s *system) startIngest(i int, spool string) string {
	if spool == "" {
		spool = filepath.Join(s.dir, fmt.Sprintf("spool-%d", i+1))
	}
	addr := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(s.t))
	admin := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(s.t))
	settings := secrets()
	maps.Copy(settings, map[string]string{
		"KLINGHOOK_REDIS_URL":  s.redis.URL(),
		"KLINGHOOK_SPOOL_DIR":  spool,
		"KLINGHOOK_ADDR":       addr,
		"KLINGHOOK_ADMIN_ADDR": admin,
		"KLINGHOOK_LOG_FORMAT": "json",
	})
	s.ingests = append(s.ingests, s.supervise(fmt.Sprintf("ingest-%d", i+1), s.set.Path(programs.Ingest), settings))
	s.admins = append(s.admins, admin)
	return "http://" + addr
}

func (s *system) startWorker(i int, of *programs.Set) *supervised {
	return s.supervise(fmt.Sprintf("worker-%d", i+1), of.Path(programs.Klinghook), s.settings(), "worker")
}

// supervise keeps a program running until the test ends.
func (s *system) supervise(name, path string, settings map[string]string, args ...string) *supervised {
	p := supervise(name, testenv.Program{
		Path: path, Args: args, Env: programs.Environment(settings), Dir: s.dir, Log: filepath.Join(s.dir, name+".log"),
	})
	s.t.Cleanup(p.stop)
	return p
}

// awaitListening waits until every ingest process answers.
func (s *system) awaitListening() {
	s.await("ingest to be ready", func() bool {
		for _, addr := range s.admins {
			if _, err := spoolDepth(s.ctx, addr); err != nil {
				return false
			}
		}
		return true
	})
}

// await polls until something holds; the test fails when the scenario's time is up.
func (s *system) await(what string, holds func() bool) {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// pass lets the load and the faults go on for a while.
func (s *system) pass(d time.Duration) {
	s.t.Helper()
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
		s.t.Fatal("the scenario's time is up")
	}
}

// between returns a random duration.
func (s *system) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.rng.Int64N(int64(most-least)))
}

// load starts a stream of so many deliveries a second.
func (s *system) load(rate float64) *load { return s.sender.start(s.ctx, s.script, rate) }
