package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

const (
	// maxShared is how many processes may share a directory.
	maxShared = 256
	// adoptBatch is how many records are moved at once.
	adoptBatch = 100
)

// OpenShared is Open for one of several processes on a machine that are started
// alike and cannot be given a directory each: it opens the first of the directories
// 0, 1, 2, … in cfg.Dir that no process has.
func OpenShared(cfg Config) (*Spool, error) {
	dir := cfg.Dir
	for n := range maxShared {
		cfg.Dir = filepath.Join(dir, strconv.Itoa(n))
		s, err := Open(cfg)
		if !errors.Is(err, ErrLocked) {
			return s, err
		}
	}
	return nil, fmt.Errorf("open spool: %d processes share %s already, which is the most", maxShared, dir)
}

// Dir is the directory that the Spool has.
func (s *Spool) Dir() string { return s.dir }

// Adopt moves what processes that are gone have left in the directories beside that
// of a Spool of OpenShared into it, and returns how many records it has moved. It
// leaves directories alone that a process has.
//
// A record is put here before it is deleted there, so that a kill between the two
// leaves it twice, which is no harm, and never not at all. Its time of arrival is
// that of the move. Whatever the error, what was not moved stays where it is.
func (s *Spool) Adopt(ctx context.Context) (int, error) {
	shared := filepath.Dir(s.dir)
	entries, err := os.ReadDir(shared)
	if err != nil {
		return 0, fmt.Errorf("look for spools that were left: %w", err)
	}
	var moved int
	var errs []error
	for _, entry := range entries {
		dir := filepath.Join(shared, entry.Name())
		if n, err := strconv.Atoi(entry.Name()); err != nil || n < 0 || dir == s.dir {
			continue
		}
		n, err := s.adopt(ctx, dir)
		moved += n
		if err != nil {
			errs = append(errs, fmt.Errorf("adopt the spool %s: %w", dir, err))
		}
	}
	return moved, errors.Join(errs...)
}

// adopt moves the records of one directory, unless a process has it.
func (s *Spool) adopt(ctx context.Context, dir string) (moved int, err error) {
	if _, err := os.Stat(filepath.Join(dir, fileName)); errors.Is(err, fs.ErrNotExist) {
		return 0, nil // nothing was ever kept there
	}
	left, err := Open(Config{Dir: dir})
	if errors.Is(err, ErrLocked) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, left.Close()) }()
	for {
		records, err := left.Read(ctx, 0, adoptBatch)
		if err != nil || len(records) == 0 {
			return moved, err
		}
		n, err := s.take(ctx, left, records)
		moved += n
		if err != nil {
			return moved, err
		}
	}
}

// take moves records from one Spool to another. Those that cannot be read are set
// aside where they are.
func (s *Spool) take(ctx context.Context, left *Spool, records []Record) (int, error) {
	errs := make([]error, len(records))
	// All at once, so that they share their syncs.
	var wg sync.WaitGroup
	for i, r := range records {
		if r.Damaged != nil {
			errs[i] = left.SetAside(ctx, r.Seq)
			continue
		}
		wg.Go(func() { errs[i] = s.Put(ctx, r.Task) })
	}
	wg.Wait()
	var here []uint64
	for i, r := range records {
		if r.Damaged == nil && errs[i] == nil {
			here = append(here, r.Seq)
		}
	}
	// One reason why not all were taken is enough.
	why := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if err := left.Delete(ctx, here...); err != nil || why < 0 {
		return len(here), err
	}
	return len(here), errs[why]
}
