package e2e

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// rate is how many deliveries a second are sent during faults.
const rate = 40

// scenario is one kind of failure, and a row of the report.
type scenario struct {
	name   string
	short  bool // part of the short form
	layout func(t *testing.T) layout
	// run causes the failure under load. It returns when the fault is over and
	// everything is sent.
	run func(s *system, f form)
}

// scenarios returns all scenarios in the order of the report.
func scenarios() []scenario {
	return []scenario{
		{name: "no fault at all", run: underLoad(rate, func(s *system) { s.pass(10 * time.Second) })},
		{name: "Redis SIGKILL", run: underLoad(rate, redisKilled)},
		{name: "Redis SIGSTOP 20 s", run: underLoad(rate, func(s *system) {
			s.fault(s.redis.Pause, s.redis.Resume, 20*time.Second)
		})},
		{name: "Redis out of memory", run: underLoad(rate, redisFull)},
		{name: "Redis wiped", run: redisWiped},
		{name: "PostgreSQL restart", run: underLoad(rate, postgresRestarted)},
		{name: "PostgreSQL gone 30 s", run: underLoad(rate, func(s *system) {
			s.fault(s.postgres.Stop, s.postgres.Restart, 30*time.Second)
		})},
		{name: "ingest SIGKILL", run: underLoad(2*rate, ingestKilled)},
		{name: "worker SIGKILL in event:record", run: underLoad(rate, killedRecording)},
		{name: "worker SIGKILL in media:download", run: underLoad(rate, func(s *system) {
			s.killWaiting(&s.media.gate, s.lockObjects, "UPDATE media SET object")
		})},
		{name: "worker SIGKILL in notify:send", run: underLoad(rate, func(s *system) {
			s.killWaiting(&s.receiver.gate, s.lock("notifications"), "UPDATE notifications SET state")
		})},
		{name: "worker SIGKILL in rejection:keep", run: underLoad(rate, func(s *system) {
			for range 2 {
				s.killIn(s.lock("rejections"), "INSERT INTO rejections")
			}
		})},
		{name: "all restarted with SIGTERM", run: underLoad(rate, restarted)},
		{name: "spool disk full", layout: smallSpools, run: underLoad(4*rate, spoolFull)},
		{name: "bucket disk full", layout: smallBucket, run: underLoad(rate, bucketFull)},
		{name: "clocks 10 minutes apart", layout: fastClock, run: underLoad(rate, clocksApart)},
		{name: "jobs deleted", run: underLoad(rate, jobsDeleted)},
		{name: "dev SIGKILL", layout: func(*testing.T) layout { return layout{dev: true} }, run: underLoad(rate, devKilled)},
		{name: "all at once", short: true, run: allAtOnce},
	}
}

// underLoad runs faults while this many deliveries a second are sent.
func underLoad(rate float64, faults func(*system)) func(*system, form) {
	return func(s *system, _ form) {
		load := s.load(rate)
		faults(s)
		load.finish()
	}
}

// fault begins and ends a fault of this length.
func (s *system) fault(begin, end func(), length time.Duration) {
	s.pass(3 * time.Second)
	begin()
	s.pass(length)
	end()
	s.pass(3 * time.Second)
}

func redisKilled(s *system) {
	for range 3 {
		s.pass(s.between(time.Second, 4*time.Second))
		s.redis.Kill()
		s.pass(s.between(time.Second, 5*time.Second))
		s.redis.Restart()
	}
	s.pass(2 * time.Second)
}

// redisFull fills Redis until ingest stops using it, and then until it refuses
// workers too.
func redisFull(s *system) {
	s.configureRedis("maxmemory-policy", "noeviction")
	s.pass(3 * time.Second)
	s.configureRedis("maxmemory", s.usedMemory()*100/95)
	s.await("ingest to spool", func() (bool, string) { n := s.spooled(); return n > 20, fmt.Sprint(n) })
	s.pass(3 * time.Second)
	s.configureRedis("maxmemory", s.usedMemory()*9/10)
	s.pass(12 * time.Second)
	s.configureRedis("maxmemory", 0)
	s.pass(3 * time.Second)
}

// redisWiped deletes everything in Redis while work of every kind is owed. Only
// events that were acknowledged and not recorded are lost, as documented.
func redisWiped(s *system, _ form) {
	deliver := func(length time.Duration) {
		load := s.load(rate)
		s.pass(length)
		load.finish()
	}
	s.media.setOutage(true)
	s.receiver.setOutage(true)
	deliver(8 * time.Second)
	s.await("the events to be recorded", func() (bool, string) {
		k, err := s.readStore()
		return err == nil && len(k.events) == len(s.sender.sent().acks), fmt.Sprint(err)
	})
	for _, p := range s.workers {
		p.stop()
	}
	deliver(3 * time.Second)
	k, err := s.readStore()
	testenv.NoError(s.t, err)
	s.lost = map[string]bool{}
	for id := range s.sender.sent().acks {
		if _, recorded := k.events[id]; !recorded {
			s.lost[id] = true
		}
	}
	owed, err := s.owed()
	if err != nil || len(s.lost) == 0 || owed[1] == 0 || owed[2] == 0 {
		s.t.Fatalf("%d events only in Redis, %d owed, %v; want some of each", len(s.lost), owed, err)
	}
	testenv.NoError(s.t, s.rdb.FlushAll(s.ctx).Err())
	s.media.setOutage(false)
	s.receiver.setOutage(false)
	for _, p := range s.workers {
		p.begin()
	}
	deliver(3 * time.Second)
}

func postgresRestarted(s *system) {
	for i := range 4 {
		s.pass(s.between(time.Second, 3*time.Second))
		if i%2 == 1 {
			s.postgres.Kill()
		}
		s.postgres.Restart()
	}
	s.pass(2 * time.Second)
}

// ingestKilled kills either ingest process, half of the time with Redis down, so that
// their spools have events.
func ingestKilled(s *system) {
	for i := range 12 {
		s.pass(s.between(300*time.Millisecond, 1500*time.Millisecond))
		s.crash(s.ingests[s.rng.IntN(ingests)])
		switch i % 6 {
		case 3:
			s.redis.Kill()
		case 5:
			s.redis.Restart()
		}
	}
}

// killIn kills all workers when one of them waits in this statement, because of the
// lock.
func (s *system) killIn(lock func() (unlock func()), statement string) {
	s.t.Helper()
	s.pass(time.Second)
	unlock := lock()
	s.await("a handler to wait in "+statement, func() (bool, string) { return s.waitsIn(statement), "" })
	for _, p := range s.workers {
		p.kill()
	}
	unlock()
	s.crash(s.workers...)
}

// killedRecording kills the workers before the first write of a transaction and
// between its writes.
func killedRecording(s *system) {
	s.killIn(s.lock("events"), "INSERT INTO events")
	s.killIn(s.lock("jobs"), "INSERT INTO jobs")
	s.killIn(s.lock("media"), "INSERT INTO media")
	s.killIn(s.lock("notifications"), "INSERT INTO notifications")
	s.pass(2 * time.Second)
}

// killWaiting kills the workers while they wait for an answer at the gate, and
// between that answer and the row that records it.
func (s *system) killWaiting(g *gate, lock func() (unlock func()), statement string) {
	for range 2 {
		s.pass(time.Second)
		g.close()
		s.await("requests to wait", func() (bool, string) { n := g.delayed(); return n > 1, fmt.Sprint(n) })
		s.crash(s.workers...)
		g.open()
		s.killIn(lock, statement)
	}
}

// restarted restarts one process after another in good order, as for an upgrade.
func restarted(s *system) {
	for range 2 {
		for _, p := range s.all() {
			s.pass(s.between(500*time.Millisecond, 1500*time.Millisecond))
			p.stop()
			p.begin()
		}
	}
}

// smallSpools puts each spool on a disk that a few hundred events fill.
func smallSpools(t *testing.T) (l layout) {
	for i := range l.spools {
		l.spools[i] = smallDisk(t, 2<<20)
	}
	return l
}

func spoolFull(s *system) {
	s.pass(2 * time.Second)
	s.redis.Kill()
	s.await("ingest to refuse", func() (bool, string) { n := s.sender.sent().unavailable; return n > 50, fmt.Sprint(n) })
	s.pass(3 * time.Second)
	s.redis.Restart()
}

func smallBucket(t *testing.T) layout { return layout{bucket: smallDisk(t, 64<<20)} }

func bucketFull(s *system) {
	s.pass(3 * time.Second)
	free := fillDisk(s.t, s.bucket)
	s.pass(15 * time.Second)
	free()
	s.pass(2 * time.Second)
}

// fastClock sets the second worker's clock ten minutes ahead.
func fastClock(t *testing.T) layout { return layout{programs: buildWithClock(t, 10*time.Minute)} }

func clocksApart(s *system) {
	s.receiver.setAnyTime()
	for range 2 {
		s.pass(10 * time.Second)
		for _, p := range s.workers {
			s.crash(p)
			s.pass(3 * time.Second)
		}
	}
}

func devKilled(s *system) {
	for range 10 {
		s.pass(s.between(300*time.Millisecond, 3*time.Second))
		s.crash(s.ingests[0])
	}
}

// jobsDeleted deletes jobs while their events arrive and their files are downloaded, and
// kills the command, the workers and the servers meanwhile.
func jobsDeleted(s *system) {
	for i := range 12 {
		s.pass(s.between(time.Second, 2*time.Second))
		ended := s.deleteJobs(3, i%3 == 1)
		s.pass(s.between(0, 300*time.Millisecond))
		switch i % 4 {
		case 1:
			s.crash(s.workers...)
		case 2:
			s.redis.Kill()
			s.pass(restartAfter)
			s.redis.Restart()
		case 3:
			s.postgres.Kill()
			s.postgres.Restart()
		}
		ended()
	}
	if n := s.number(`SELECT count(*) FROM erasures`); n < 12 {
		s.t.Errorf("%d jobs have a tombstone, want more", n)
	}
}

// deleteJobs starts to delete some jobs, and may kill the command after a moment. The
// command may fail, because servers are killed. ended waits for its end.
func (s *system) deleteJobs(n int, kill bool) (ended func()) {
	s.t.Helper()
	sent := s.sender.sent()
	jobs := map[string]bool{}
	for id := range sent.acks { // in random order
		if jobs[sent.events[id].says.job] = true; len(jobs) == n {
			break
		}
	}
	limit := time.Minute
	if kill {
		limit = s.between(50*time.Millisecond, 400*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	cmd := exec.CommandContext(ctx, filepath.Join(programs(s.t), klinghook), append([]string{"jobs", "delete", "--yes", "--"}, slices.Sorted(maps.Keys(jobs))...)...)
	cmd.Env = environment(s.settings)
	testenv.NoError(s.t, cmd.Start())
	return func() {
		_ = cmd.Wait()
		cancel()
	}
}

// allAtOnce breaks everything at random, each part by itself, and finally kills all
// of klinghook once more.
func allAtOnce(s *system, f form) {
	load := s.load(rate)
	start := time.Now()
	for _, a := range s.storm(f.storm) {
		s.pass(max(a.at-time.Since(start), 0))
		a.do()
	}
	s.crash(s.all()...)
	load.finish()
}

// action is done at a time after the storm began.
type action struct {
	at time.Duration
	do func()
}

// storm makes up faults: those of one part follow one another, those of different
// parts overlap.
func (s *system) storm(length time.Duration) []action {
	type fault struct {
		begin, end  func()
		least, most time.Duration // how long it lasts
	}
	nothing := func() {}
	outage := func(set func(bool)) fault {
		return fault{func() { set(true) }, func() { set(false) }, 500 * time.Millisecond, 2 * time.Second}
	}
	parts := [][]fault{
		{
			{s.redis.Kill, s.redis.Restart, 300 * time.Millisecond, 3 * time.Second},
			{s.redis.Pause, s.redis.Resume, 300 * time.Millisecond, 4 * time.Second},
		},
		{{s.postgres.Kill, s.postgres.Restart, 300 * time.Millisecond, 3 * time.Second}, {s.postgres.Restart, nothing, time.Millisecond, 2 * time.Millisecond}},
		{outage(s.media.setOutage)},
		{outage(s.receiver.setOutage)},
	}
	for _, p := range s.all() {
		parts = append(parts, []fault{{p.kill, p.begin, restartAfter, 2 * restartAfter}})
	}
	var actions []action
	for _, faults := range parts {
		for at := s.between(0, 5*time.Second); ; at += s.between(time.Second, 8*time.Second) {
			f := faults[s.rng.IntN(len(faults))]
			lasts := s.between(f.least, f.most)
			if at+lasts > length {
				break
			}
			actions = append(actions, action{at, f.begin}, action{at + lasts, f.end})
			at += lasts
		}
	}
	slices.SortStableFunc(actions, func(a, b action) int { return int(a.at - b.at) })
	return actions
}
