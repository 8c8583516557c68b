package spool

import (
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// A sync is shared by at most this many records, and by none that would make
	// them larger than this together.
	batchRecords = 1000
	batchBytes   = 8 << 20
	// fillPercent is for keys that only grow; bbolt's default of one half is for
	// those that come in between others.
	fillPercent = 0.95
)

// put is a record on its way to the disk.
type put struct {
	value   []byte
	arrived time.Time
	answer  chan error // of length 1: whoever put it may have gone
}

// load puts back what was set aside and counts what the file holds.
func (s *Spool) load() error {
	s.stats = Stats{MaxBytes: s.maxBytes}
	// On a full disk it stays aside: the start must not depend on it.
	_ = s.db.Update(putBack)
	return s.db.View(func(tx *bbolt.Tx) error {
		records := tx.Bucket([]byte(bucketRecords))
		s.last = records.Sequence()
		s.stats.Oldest = s.oldest(records)
		s.stats.Aside = tx.Bucket([]byte(bucketAside)).Stats().KeyN
		return records.ForEach(func(_, v []byte) error {
			s.stats.Events++
			s.stats.Bytes += sizeOf(v)
			return nil
		})
	})
}

// putBack returns to the records what was set aside.
func putBack(tx *bbolt.Tx) error {
	records, aside := tx.Bucket([]byte(bucketRecords)), tx.Bucket([]byte(bucketAside))
	c := aside.Cursor()
	for k, v := c.First(); k != nil; k, v = c.First() {
		if err := move(aside, records, k, v); err != nil {
			return err
		}
	}
	return nil
}

// run serves the file until the Spool is closed.
func (s *Spool) run() {
	defer close(s.done)
	debug.SetPanicOnFault(true) // guard has the rest
	for {
		select {
		case <-s.stop:
			return
		case p := <-s.puts:
			s.store(s.gather(p))
		case op := <-s.ops:
			op()
		}
	}
}

// gather returns p and whichever others wait with it, without waiting for more.
// Those that find no room are answered.
func (s *Spool) gather(p *put) []*put {
	room := s.maxBytes - s.Stats().Bytes
	size := int64(0)
	var batch []*put
	for seen := 1; ; seen++ {
		if n := sizeOf(p.value); n > room {
			p.answer <- ErrFull
		} else {
			room -= n
			size += n
			batch = append(batch, p)
		}
		if seen == batchRecords || size >= batchBytes {
			return batch
		}
		select {
		case p = <-s.puts:
		default:
			return batch
		}
	}
}

// store writes a batch in one transaction and answers.
func (s *Spool) store(batch []*put) {
	if len(batch) == 0 {
		return
	}
	err := guard(s.ready)
	if err == nil {
		err = guard(func() error {
			return s.db.Update(func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte(bucketRecords))
				b.FillPercent = fillPercent
				for _, p := range batch {
					seq, err := b.NextSequence()
					if err != nil {
						return err
					}
					if err := b.Put(seqKey(seq), p.value); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	// Of a commit that failed, the file knows whether it came about.
	if err == nil || s.lastInFile() > s.last {
		s.last += uint64(len(batch))
		s.added(batch)
	}
	s.wrote(err)
	for _, p := range batch {
		p.answer <- err
	}
}

// ready refuses what the disk could not keep, or could not give back: without the
// reserve a full disk might leave no space to delete with.
func (s *Spool) ready() error {
	if s.missing {
		db, err := createFile(s.dir, s.last)
		if err != nil {
			return err
		}
		s.replaced(db)
	}
	if s.unnamed {
		if err := syncDir(s.dir); err != nil {
			return err
		}
		s.unnamed = false
	}
	return s.reserve.hold()
}

// lastInFile returns the sequence number given last, by the file.
func (s *Spool) lastInFile() (seq uint64) {
	err := guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			seq = tx.Bucket([]byte(bucketRecords)).Sequence()
			return nil
		})
	})
	if err != nil {
		return 0
	}
	return seq
}

// move takes a record from one bucket to another.
func move(from, to *bbolt.Bucket, k, v []byte) error {
	// Both belong to a page that the changes may rewrite.
	k, v = append([]byte(nil), k...), append([]byte(nil), v...)
	if err := to.Put(k, v); err != nil {
		return err
	}
	return from.Delete(k)
}

func (s *Spool) added(batch []*put) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats.Events == 0 {
		s.stats.Oldest = batch[0].arrived.UTC()
	}
	for _, p := range batch {
		s.stats.Events++
		s.stats.Bytes += sizeOf(p.value)
	}
}

// wrote notes how the last write ended.
func (s *Spool) wrote(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.WriteErr, s.stats.WriteErrAt = err, time.Time{}
	if err != nil {
		s.stats.WriteErrAt = s.now()
	}
}
