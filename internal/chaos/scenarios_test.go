package chaos

import (
	"testing"
	"time"
)

// rate is how many deliveries a second are sent while things go wrong.
const rate = 40

// scenarios are all there are, in the order of the report.
func scenarios() []scenario {
	return []scenario{
		{name: "no fault at all", run: calm},
		{name: "Redis SIGKILL", run: redisKilled},
		{name: "Redis SIGSTOP 20 s", run: redisStopped},
		{name: "Redis out of memory", run: redisFull},
		{name: "Redis wiped", run: redisWiped},
		{name: "PostgreSQL restart", run: postgresRestarted},
		{name: "PostgreSQL gone 30 s", run: postgresGone},
		{name: "ingest SIGKILL", run: ingestKilled},
		{name: "worker SIGKILL in event:record", run: killedRecording},
		{name: "worker SIGKILL in media:download", run: killedDownloading},
		{name: "worker SIGKILL in notify:send", run: killedSending},
		{name: "worker SIGKILL in rejection:keep", run: killedKeeping},
		{name: "all restarted with SIGTERM", run: restarted},
		{name: "spool disk full", layout: smallSpools, run: spoolFull},
		{name: "bucket disk full", layout: smallBucket, run: bucketFull},
		{name: "clocks 10 minutes apart", layout: fastClock, run: clocksApart},
		{name: "dev SIGKILL", layout: oneProcess, run: devKilled},
		{name: "all at once", short: true, run: allAtOnce},
	}
}

// calm is what the others are to be compared with.
func calm(s *system, _ form) {
	load := s.load(rate)
	s.pass(10 * time.Second)
	load.finish()
}

func redisKilled(s *system, _ form) {
	load := s.load(rate)
	for range 3 {
		s.pass(s.between(time.Second, 4*time.Second))
		s.redis.Kill()
		s.pass(s.between(time.Second, 5*time.Second))
		s.redis.Restart()
	}
	s.pass(2 * time.Second)
	load.finish()
}

func redisStopped(s *system, _ form) {
	load := s.load(rate)
	s.pass(3 * time.Second)
	s.redis.Pause()
	s.pass(20 * time.Second)
	s.redis.Resume()
	s.pass(3 * time.Second)
	load.finish()
}

// redisFull fills Redis to where ingest stops using it, and then so far that it
// refuses workers too.
func redisFull(s *system, _ form) {
	limit := func(bytes int64) {
		if err := s.rdb.ConfigSet(s.ctx, "maxmemory", size(bytes)).Err(); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := s.rdb.ConfigSet(s.ctx, "maxmemory-policy", "noeviction").Err(); err != nil {
		s.t.Fatal(err)
	}
	load := s.load(rate)
	s.pass(3 * time.Second)
	limit(s.usedMemory() * 100 / 95)
	s.await("ingest to spool", func() bool { return s.spooled() > 20 })
	s.pass(3 * time.Second)
	limit(s.usedMemory() * 9 / 10)
	s.pass(12 * time.Second)
	limit(0)
	s.pass(3 * time.Second)
	load.finish()
}

// redisWiped takes from Redis all that it has, while work of every kind is owed. What
// was only there, acknowledged and not recorded, is lost, as the documentation says,
// and nothing else.
func redisWiped(s *system, _ form) {
	s.media.setOutage(true)
	s.receiver.setOutage(true)
	load := s.load(rate)
	s.pass(8 * time.Second)
	load.finish()
	s.await("the events to be recorded", func() bool {
		ids, err := recorded(s.ctx, s.db)
		return err == nil && len(ids) == len(s.sender.ledger.acknowledged())
	})
	for _, p := range s.workers {
		p.stop()
	}
	load = s.load(rate)
	s.pass(3 * time.Second)
	load.finish()
	ids, err := recorded(s.ctx, s.db)
	if err != nil {
		s.t.Fatal(err)
	}
	s.lost = map[string]bool{}
	for id := range s.sender.ledger.acknowledged() {
		if !ids[id] {
			s.lost[id] = true
		}
	}
	_, media, notifications, err := owed(s.ctx, s.db)
	if err != nil || len(s.lost) == 0 || media == 0 || notifications == 0 {
		s.t.Fatalf("nothing is to be lost or owed: %d events, %d files, %d notifications, %v", len(s.lost), media, notifications, err)
	}
	if err := s.rdb.FlushAll(s.ctx).Err(); err != nil {
		s.t.Fatal(err)
	}
	s.media.setOutage(false)
	s.receiver.setOutage(false)
	for _, p := range s.workers {
		p.start()
	}
	load = s.load(rate)
	s.pass(3 * time.Second)
	load.finish()
}

func postgresRestarted(s *system, _ form) {
	load := s.load(rate)
	for i := range 4 {
		s.pass(s.between(time.Second, 3*time.Second))
		if i%2 == 1 {
			s.postgres.Kill()
		}
		s.postgres.Restart()
	}
	s.pass(2 * time.Second)
	load.finish()
}

func postgresGone(s *system, _ form) {
	load := s.load(rate)
	s.pass(3 * time.Second)
	s.postgres.Stop()
	s.pass(30 * time.Second)
	s.postgres.Restart()
	s.pass(3 * time.Second)
	load.finish()
}

func ingestKilled(s *system, _ form) {
	load := s.load(2 * rate)
	for i := range 12 {
		s.pass(s.between(300*time.Millisecond, 1500*time.Millisecond))
		s.ingests[s.rng.IntN(ingests)].kill()
		// Now and then with Redis away, so that there is something in the spools.
		switch i % 6 {
		case 3:
			s.redis.Kill()
		case 5:
			s.redis.Restart()
		}
	}
	load.finish()
}

// restarted restarts one process after another, in good order, as for an upgrade.
func restarted(s *system, _ form) {
	load := s.load(rate)
	for range 2 {
		for _, p := range s.all() {
			s.pass(s.between(500*time.Millisecond, 1500*time.Millisecond))
			p.stop()
			p.start()
		}
	}
	load.finish()
}

// smallSpools gives each ingest process a spool disk of its own that a few hundred
// events fill.
func smallSpools(t *testing.T) (l layout) {
	for i := range l.spools {
		l.spools[i] = smallDisk(t, 2<<20)
	}
	return l
}

func spoolFull(s *system, _ form) {
	load := s.load(4 * rate)
	s.pass(2 * time.Second)
	s.redis.Kill()
	s.await("ingest to refuse", func() bool { return s.sender.ledger.refusals() > 50 })
	s.pass(3 * time.Second)
	s.redis.Restart()
	load.finish()
}

func smallBucket(t *testing.T) layout { return layout{bucket: smallDisk(t, 64<<20)} }

func bucketFull(s *system, _ form) {
	load := s.load(rate)
	s.pass(3 * time.Second)
	free := fillDisk(s.t, s.bucket)
	s.pass(15 * time.Second)
	free()
	s.pass(2 * time.Second)
	load.finish()
}
