package spool

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// readBytes bounds what one Read holds in memory.
	readBytes = 4 << 20
	// shrinkBytes is how large the file may stay once it is empty. A larger one is
	// replaced, to give the space back and because each commit writes the list of
	// its free pages.
	shrinkBytes = 16 << 20
)

// read is Read.
func (s *Spool) read(after uint64, limit int) (records []Record, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		size := int64(0)
		s.each(tx.Bucket([]byte(bucketRecords)), after, func(seq uint64, v []byte) bool {
			if size += sizeOf(v); len(records) == limit || size > readBytes && len(records) > 0 {
				return false
			}
			r := Record{Seq: seq}
			r.Task, r.ArrivedAt, r.Damaged = decodeRecord(v)
			records = append(records, r)
			return true
		})
		return nil
	})
	return records, err
}

// each calls yield for the records after a number, but for those that are gone,
// until it returns false.
func (s *Spool) each(records *bbolt.Bucket, after uint64, yield func(seq uint64, v []byte) bool) {
	leading := after <= s.floor
	after = max(after, s.floor)
	c := records.Cursor()
	for k, v := c.Seek(seqKey(after + 1)); k != nil; k, v = c.Next() {
		seq := binary.BigEndian.Uint64(k)
		if s.gone[seq] {
			if leading {
				s.floor = seq
			}
			continue
		}
		leading = false
		if !yield(seq, v) {
			return
		}
	}
}

// oldest returns when the first of the records arrived.
func (s *Spool) oldest(records *bbolt.Bucket) (arrived time.Time) {
	s.each(records, 0, func(_ uint64, v []byte) bool {
		arrived = arrivalOf(v)
		return false
	})
	return arrived
}

// remove is Delete. What the disk refuses to delete is gone for this process all
// the same, so that a full disk can be drained: once nothing else is left, the
// whole file is replaced.
func (s *Spool) remove(seqs []uint64) error {
	seqs = slices.Compact(slices.Sorted(slices.Values(seqs)))
	events, bytes, err := s.measure(seqs)
	if err != nil {
		return err
	}
	pending := slices.AppendSeq(slices.Clone(seqs), maps.Keys(s.gone))
	err = s.goneErr
	if len(pending) >= s.eraseAt {
		err = s.erase(pending)
	}
	if err == nil {
		clear(s.gone)
		s.eraseAt, s.goneErr = 0, nil
	} else {
		if len(pending) >= s.eraseAt {
			// Each try is for all of them: they must not become ever more work.
			s.eraseAt, s.goneErr = 2*len(pending), err
		}
		for _, seq := range seqs {
			s.gone[seq] = true
		}
	}
	s.removed(events, bytes)
	s.wrote(err)
	if s.Stats().Events == 0 {
		s.shrink()
	}
	return err
}

// measure counts those of the records that are there.
func (s *Spool) measure(seqs []uint64) (events int, bytes int64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucketRecords))
		for _, seq := range seqs {
			if v := b.Get(seqKey(seq)); v != nil && !s.gone[seq] {
				events++
				bytes += sizeOf(v)
			}
		}
		return nil
	})
	return events, bytes, err
}

// erase deletes records from the file. Where the disk is full it uses the reserve.
func (s *Spool) erase(seqs []uint64) error {
	once := func() error {
		return guard(func() error {
			return s.db.Update(func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte(bucketRecords))
				for _, seq := range seqs {
					if err := b.Delete(seqKey(seq)); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	err := once()
	if err != nil && s.reserve.release() == nil {
		err = once()
	}
	return err
}

// setAside is SetAside.
func (s *Spool) setAside(seq uint64) error {
	events, bytes, err := s.measure([]uint64{seq})
	if err != nil || events == 0 {
		return err
	}
	err = guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			b, k := tx.Bucket([]byte(bucketRecords)), seqKey(seq)
			return move(b, tx.Bucket([]byte(bucketAside)), k, b.Get(k))
		})
	})
	// Of a commit that failed, the file knows whether it came about.
	left, _, measureErr := s.measure([]uint64{seq})
	if err == nil || measureErr == nil && left == 0 {
		s.removed(events, bytes)
		s.mu.Lock()
		s.stats.Aside++
		s.mu.Unlock()
	}
	s.wrote(err)
	return err
}

// shrink replaces the file of an empty spool when it has grown large, and when the
// disk was too full to delete from it.
func (s *Spool) shrink() {
	info, err := os.Stat(filepath.Join(s.dir, fileName))
	tight := len(s.gone) > 0 || !s.reserve.present
	if err != nil || s.Stats().Aside > 0 || info.Size() <= shrinkBytes && !tight {
		return
	}
	// Nothing is left that would need space to be deleted with.
	_ = s.reserve.release()
	db, err := createFile(s.dir, s.last)
	if err == nil {
		_ = s.db.Close() // nothing that counts is in it, nor has it a name
		s.replaced(db)
	} else if tight {
		// There is no space for a second file, however small: the first must go before.
		_ = s.db.Close()
		_ = os.Remove(filepath.Join(s.dir, fileName))
		s.missing = true
	}
	_ = s.ready() // else Put tries
}

// replaced takes up a new, empty file.
func (s *Spool) replaced(db *bbolt.DB) {
	s.db, s.missing, s.unnamed = db, false, true
	clear(s.gone)
	s.eraseAt, s.goneErr = 0, nil
}

// removed counts records that are gone.
func (s *Spool) removed(events int, bytes int64) {
	var oldest time.Time
	_ = guard(func() error { // what cannot be read is reported to whoever reads next
		return s.db.View(func(tx *bbolt.Tx) error {
			oldest = s.oldest(tx.Bucket([]byte(bucketRecords)))
			return nil
		})
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Events -= events
	s.stats.Bytes -= bytes
	s.stats.Oldest = oldest
}
