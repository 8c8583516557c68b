package chaos

import (
	"time"
)

// killWorkers kills all workers, whatever they do.
func (s *system) killWorkers() {
	for _, p := range s.workers {
		p.kill()
	}
}

// killIn kills all workers once one of them waits in a statement that begins so,
// because writing to the table is locked. Rows can still be selected for update.
func (s *system) killIn(table, statement string) {
	s.t.Helper()
	s.pass(time.Second)
	unlock := s.lock(table, "SHARE")
	s.await("a handler to be held up in "+statement, func() bool { return s.heldUp(statement) })
	s.killWorkers()
	unlock()
}

// killedRecording kills the workers while they record: before anything is written,
// and between the writes of one transaction.
func killedRecording(s *system, _ form) {
	load := s.load(rate)
	s.killIn("events", "INSERT INTO events")
	s.killIn("jobs", "INSERT INTO jobs")
	s.killIn("media", "INSERT INTO media")
	s.killIn("notifications", "INSERT INTO notifications")
	s.pass(2 * time.Second)
	load.finish()
}

// killedDownloading kills the workers in the middle of files, and where a file is in
// the bucket and its row does not say so yet.
func killedDownloading(s *system, _ form) {
	load := s.load(rate)
	for range 2 {
		s.pass(time.Second)
		s.media.gate.close()
		s.await("downloads to hang", func() bool { return s.media.gate.held() > 1 })
		s.killWorkers()
		s.media.gate.open()
		s.killIn("media", "UPDATE media SET object")
	}
	load.finish()
}

// killedSending kills the workers while the receiver, which has taken the
// notification, keeps them waiting for its answer; and where it has answered and the
// row does not say so yet.
func killedSending(s *system, _ form) {
	load := s.load(rate)
	for range 2 {
		s.pass(time.Second)
		s.receiver.gate.close()
		s.await("notifications to hang", func() bool { return s.receiver.gate.held() > 1 })
		s.killWorkers()
		s.receiver.gate.open()
		s.killIn("notifications", "UPDATE notifications SET state")
	}
	load.finish()
}

// killedKeeping kills the workers while they keep samples of refused deliveries.
func killedKeeping(s *system, _ form) {
	load := s.load(rate)
	for range 2 {
		s.killIn("rejections", "INSERT INTO rejections")
	}
	load.finish()
}
