package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/klinghook/klinghook/tasks"
)

// What callers of a Spool tell apart.
var (
	// ErrLocked is that another process, or another Spool of this one, has the
	// directory.
	ErrLocked = errors.New("another process uses this spool directory: give each process one of its own")
	// ErrDamaged is that the file cannot be read as a spool. It may hold events
	// that were acknowledged; nothing is done to it.
	ErrDamaged = errors.New("the spool file is damaged")
	// ErrFull is that a record would take the spool over its limit.
	ErrFull = errors.New("the spool is full")
	// ErrClosed is that the Spool was closed.
	ErrClosed = errors.New("the spool is closed")
)

// DefaultMaxBytes is how much a Spool holds unless its Config says otherwise.
const DefaultMaxBytes = 1 << 30

// Config is what a Spool is made of.
type Config struct {
	// Dir is the spool's directory, its alone; it is created with mode 0700 unless
	// it is there. Required.
	Dir string
	// MaxBytes is the most that the records may have together, in bytes; default
	// 1 GiB. On disk it may become twice as much, for records fill whole pages.
	MaxBytes int64
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Stats is what a Spool holds.
type Stats struct {
	// Events is how many records wait to be handed over.
	Events int
	// Bytes is their size, of MaxBytes.
	Bytes, MaxBytes int64
	// Oldest is when the first of them arrived; zero when there is none.
	Oldest time.Time
	// Aside is how many records were set aside.
	Aside int
	// WriteErr is why the last write failed, and WriteErrAt when; nil when it
	// succeeded. A full spool is no error of this kind.
	WriteErr   error
	WriteErrAt time.Time
}

// Age is how long the oldest record has waited; zero when there is none.
func (s Stats) Age(now time.Time) time.Duration {
	if s.Oldest.IsZero() {
		return 0
	}
	return max(now.Sub(s.Oldest), 0)
}

// Spool keeps tasks in a synced file until they are deleted. It is safe for
// concurrent use; each Spool must be closed.
//
// One goroutine has the file to itself. While it waits for the disk, others queue
// up, and the next sync is for all of them at once.
type Spool struct {
	dir      string
	maxBytes int64
	now      func() time.Time
	lock     *os.File

	puts chan *put
	ops  chan func()
	stop chan struct{}
	done chan struct{}
	end  sync.Once
	// closeErr is set before Close returns for the first time.
	closeErr error

	// These belong to the goroutine.
	db      *bbolt.DB
	last    uint64 // the sequence number given last
	reserve *reserve
	missing bool // there is no file: no disk space was left for an empty one
	unnamed bool // the file's name may not be on the disk yet
	// gone are records that were to be deleted and are in the file still, because
	// the disk refused it, with goneErr. The records up to floor are all gone; at
	// eraseAt of them it is tried again.
	gone    map[uint64]bool
	goneErr error
	floor   uint64
	eraseAt int

	mu    sync.Mutex // guards stats
	stats Stats
}

// Open takes the directory and whatever an earlier process left in it.
//
// It reads the whole file. Its errors are ErrLocked, ErrDamaged, or the file
// system's.
func Open(cfg Config) (_ *Spool, err error) {
	s := &Spool{
		dir: cfg.Dir, maxBytes: cfg.MaxBytes, now: cfg.Now,
		gone: make(map[uint64]bool),
		puts: make(chan *put), ops: make(chan func()), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if s.maxBytes == 0 {
		s.maxBytes = DefaultMaxBytes
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err := makeDir(s.dir); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if s.lock, err = lockDir(s.dir); err != nil {
		return nil, fmt.Errorf("open spool %s: %w", s.dir, err)
	}
	if s.db, err = openFile(s.dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool %s: %w", s.dir, err), s.lock.Close())
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool %s: %w", s.dir, err), s.db.Close(), s.lock.Close())
	}
	s.reserve = newReserve(s.dir)
	go s.run()
	return s, nil
}

// Put keeps a task. It returns nil once the disk has it. The same task may be put
// again; it is then kept again.
//
// Errors are ErrFull, ErrClosed, ctx's, or the file system's as it is; none of them
// but ErrFull proves that the task is not kept. After an error of the disk the next
// Put tries again. When ctx ends while the disk is at work, Put returns, and the
// task may still come to be kept.
func (s *Spool) Put(ctx context.Context, t tasks.Task) error {
	arrived := s.now()
	value, err := encodeRecord(t, arrived)
	if err != nil {
		return err
	}
	p := &put{value: value, arrived: arrived, answer: make(chan error, 1)}
	select {
	case s.puts <- p:
	case <-s.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-p.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Read returns the records whose sequence numbers are greater than after, in order
// of arrival: at most limit of them, and no more than make 4 MiB together, but one
// at least. Read(ctx, 0, n) returns the oldest.
func (s *Spool) Read(ctx context.Context, after uint64, limit int) ([]Record, error) {
	return do(ctx, s, func() ([]Record, error) { return s.read(after, limit) })
}

// Delete removes records, in one transaction. Numbers that are not there are
// passed over.
//
// Records that the disk refuses to delete, which is the error, are gone for this
// Spool nevertheless; the next Open may find them again.
func (s *Spool) Delete(ctx context.Context, seqs ...uint64) error {
	_, err := do(ctx, s, func() (struct{}, error) { return struct{}{}, s.remove(seqs) })
	return err
}

// SetAside takes a record that cannot be handed over out of the way of the others.
// It stays in the file, and the next Open puts it back.
func (s *Spool) SetAside(ctx context.Context, seq uint64) error {
	_, err := do(ctx, s, func() (struct{}, error) { return struct{}{}, s.setAside(seq) })
	return err
}

// Stats returns what the spool holds, from memory.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Close finishes the write in hand and gives the directory free. Records stay for
// the next Open. Closing again returns the same.
func (s *Spool) Close() error {
	s.end.Do(func() {
		close(s.stop)
		<-s.done
		if err := errors.Join(s.db.Close(), s.lock.Close()); err != nil {
			s.closeErr = fmt.Errorf("close spool: %w", err)
		}
	})
	return s.closeErr
}

// do has f run by the goroutine that owns the file, and waits for it.
func do[T any](ctx context.Context, s *Spool, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	answer := make(chan result, 1)
	op := func() {
		var r result
		r.err = guard(func() (err error) { r.value, err = f(); return err })
		answer <- r
	}
	var r result
	select {
	case s.ops <- op:
	case <-s.stop:
		return r.value, ErrClosed
	case <-ctx.Done():
		return r.value, ctx.Err()
	}
	select {
	case r = <-answer:
		return r.value, r.err
	case <-ctx.Done():
		return r.value, ctx.Err()
	}
}

// guard turns the panics with which bbolt meets damage, and the memory faults of a
// disk that cannot be read, into errors.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, v)
		}
	}()
	return f()
}
