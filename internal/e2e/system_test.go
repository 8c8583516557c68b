package e2e

import (
	"fmt"
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

// restartAfter is how long a killed program stays down, as with a service manager.
const restartAfter = 300 * time.Millisecond

// system is a world under load.
type system struct {
	*world
	rng      *rand.Rand
	postgres *testenv.PostgresCluster

	ingests []*service
	workers []*service
	admins  []string // the private addresses of the ingest processes
}

// layout is how a scenario's system differs from the usual one.
type layout struct {
	spools   [ingests]string // spool directories
	bucket   string
	programs string // the folder of the second worker's program
	dev      bool   // one process with its queue in memory
}

// newSystem starts everything.
func newSystem(t *testing.T, seed uint64, l layout) *system {
	s := &system{rng: rand.New(rand.NewPCG(seed, 1))}
	if l.dev {
		s.world = newWorld(t)
	} else {
		s.postgres = testenv.PostgresServer(t)
		s.world = newFleet(t, s.postgres.URL(), testenv.WithAOF("always"))
	}
	s.script = newScript(seed, s.media.address())
	s.media.trouble, s.receiver.trouble = random(seed), random(seed)
	s.settings["KLINGHOOK_GRACE"] = "5s"
	if l.bucket != "" {
		s.setBucket(l.bucket)
	}
	if l.dev {
		s.startIngest("", klinghook, "dev")
	} else {
		for _, spool := range l.spools {
			s.startIngest(spool, ingestProgram)
		}
		for i := range workers {
			dir := programs(t)
			if i == 1 && l.programs != "" {
				dir = l.programs
			}
			s.workers = append(s.workers, s.startIn(dir, klinghook, "worker"))
		}
	}
	s.openStore()
	return s
}

// startIngest starts a process that receives deliveries at a fixed address, and waits
// until it is ready.
func (s *system) startIngest(spool, program string, args ...string) {
	s.t.Helper()
	name := fmt.Sprintf("ingest-%d", len(s.ingests)+1)
	if spool == "" {
		spool = filepath.Join(s.dir, "spool-"+name)
	}
	addr, admin := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(s.t)), fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(s.t))
	s.settings["KLINGHOOK_ADDR"], s.settings["KLINGHOOK_ADMIN_ADDR"], s.settings["KLINGHOOK_SPOOL_DIR"] = addr, admin, spool
	s.ingests = append(s.ingests, s.start(program, args...))
	s.settings["KLINGHOOK_ADMIN_ADDR"] = "127.0.0.1:0"
	s.admins, s.sender.targets = append(s.admins, admin), append(s.sender.targets, "http://"+addr)
	s.await(name+" to be ready", func() (bool, string) {
		_, err := s.spoolDepth(admin)
		return err == nil, fmt.Sprint(err)
	})
}

// all returns every process.
func (s *system) all() []*service {
	return append(append([]*service(nil), s.ingests...), s.workers...)
}

// crash kills processes, and starts them again a moment later.
func (s *system) crash(list ...*service) {
	s.t.Helper()
	for _, p := range list {
		p.kill()
	}
	s.pass(restartAfter)
	for _, p := range list {
		p.begin()
	}
}

// between returns a random duration.
func (s *system) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.rng.Int64N(int64(most-least)))
}

// load starts a stream of deliveries, this many a second.
func (s *system) load(rate float64) *load { return s.sender.start(s.ctx, s.script, rate) }
