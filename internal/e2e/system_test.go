package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// ingests and workers are how many processes of each a system has.
const (
	ingests = 2
	workers = 2
)

// system is a world under load whose programs are restarted when they end.
type system struct {
	*world
	ctx      context.Context
	rng      *rand.Rand
	postgres *testenv.PostgresCluster

	ingests []*supervised
	workers []*supervised
	admins  []string // the private addresses of the ingest processes
	sender  *sender
	script  *script

	lost map[string]bool // the events that this scenario loses, as documented
}

// layout is how a scenario's system differs from the usual one.
type layout struct {
	spools   [ingests]string // spool directories
	bucket   string
	programs string // the folder of the second worker's program
	dev      bool   // one process with its queue in memory
}

// newSystem starts everything. ctx ends the scenario.
func newSystem(ctx context.Context, t *testing.T, seed uint64, l layout) *system {
	s := &system{ctx: ctx, rng: rand.New(rand.NewPCG(seed, 1))}
	if l.dev {
		s.world = newWorld(t)
	} else {
		s.postgres = testenv.PostgresServer(t)
		s.world = newFleet(t, s.postgres.URL(), testenv.WithAOF("always"))
	}
	s.media.trouble, s.receiver.trouble = random(seed), random(seed)
	s.settings["KLINGHOOK_GRACE"] = "5s"
	if l.bucket != "" {
		s.setBucket(l.bucket)
	}
	var targets []string
	if l.dev {
		targets = []string{s.startIngest("dev", klinghook, "", "dev")}
	} else {
		targets = s.startFleet(l)
	}
	s.openStore()
	s.sender = newSender(targets)
	t.Cleanup(s.sender.client.CloseIdleConnections)
	s.script = &script{rng: s.rng, media: s.media.address()}
	s.await("ingest to be ready", func() bool {
		for _, addr := range s.admins {
			if _, err := spoolDepth(s.ctx, addr); err != nil {
				return false
			}
		}
		return true
	})
	return s
}

// startFleet starts the ingest processes and the workers, and returns the base URLs.
func (s *system) startFleet(l layout) (targets []string) {
	for i := range ingests {
		targets = append(targets, s.startIngest(fmt.Sprintf("ingest-%d", i+1), ingestProgram, l.spools[i]))
	}
	for i := range workers {
		dir := programs(s.t)
		if i == 1 && l.programs != "" {
			dir = l.programs
		}
		s.workers = append(s.workers, s.supervise(fmt.Sprintf("worker-%d", i+1), filepath.Join(dir, klinghook), s.settings, "worker"))
	}
	return targets
}

// startIngest starts a process that receives deliveries at a fixed address, and
// returns its base URL.
func (s *system) startIngest(name, program, spool string, args ...string) string {
	if spool == "" {
		spool = filepath.Join(s.dir, "spool-"+name)
	}
	addr, admin := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(s.t)), fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(s.t))
	settings := maps.Clone(s.settings)
	settings["KLINGHOOK_ADDR"], settings["KLINGHOOK_ADMIN_ADDR"], settings["KLINGHOOK_SPOOL_DIR"] = addr, admin, spool
	s.ingests = append(s.ingests, s.supervise(name, filepath.Join(programs(s.t), program), settings, args...))
	s.admins = append(s.admins, admin)
	return "http://" + addr
}

// supervise restarts a program until the test ends.
func (s *system) supervise(name, path string, settings map[string]string, args ...string) *supervised {
	p := supervise(name, testenv.Program{
		Path: path, Args: args, Env: environment(settings), Dir: s.dir, Log: filepath.Join(s.dir, name+".log"),
	})
	s.t.Cleanup(p.stop)
	return p
}

// all returns every process.
func (s *system) all() []*supervised {
	return append(append([]*supervised(nil), s.ingests...), s.workers...)
}

// await polls until done; the test fails when the scenario's time is over.
func (s *system) await(what string, done func() bool) {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.t.Fatalf("the scenario's time is over; waited for %s", what)
		}
	}
}

// pass lets load and faults continue for a while.
func (s *system) pass(d time.Duration) {
	s.t.Helper()
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
		s.t.Fatal("the scenario's time is over")
	}
}

// between returns a random duration.
func (s *system) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.rng.Int64N(int64(most-least)))
}

// load starts a stream of deliveries, this many a second.
func (s *system) load(rate float64) *load { return s.sender.start(s.ctx, s.script, rate) }
