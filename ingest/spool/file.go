package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	fileName    = "spool.db"
	newFileName = "spool.db.new"
	lockName    = "spool.lock"
	reserveName = "spool.reserve"
)

// The buckets of the file.
const (
	bucketRecords = "records"
	bucketAside   = "aside"
)

// makeDir creates the spool's directory, and those above it, so that they outlive
// the machine.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil // whose parent may be none of our business
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// openFile opens the spool's file, or creates it where there is none, and returns
// it checked from end to end.
func openFile(dir string) (*bbolt.DB, error) {
	path := filepath.Join(dir, fileName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		db, err := createFile(dir, 0)
		if err != nil {
			return nil, err
		}
		if err := syncDir(dir); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return db, nil
	}
	if err != nil {
		return nil, err
	}
	var db *bbolt.DB
	if info.Size() == 0 {
		// bbolt would take it for a new file. A new file of ours never is empty.
		err = errors.New("it is empty")
	} else {
		db, err = openChecked(path)
	}
	// Permissions, a lock, a lack of memory: nothing is wrong with the file itself.
	if errors.As(err, new(syscall.Errno)) || errors.Is(err, ErrLocked) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w; it may hold events that were answered with 200, so keep it: move it out of the directory and start again", ErrDamaged, path, err)
	}
	return db, nil
}

// createFile puts an empty file whose next sequence number is seq+1 in the place
// of the spool's file. It is complete before it has the name, so that no kill
// leaves half of one. That it has the name is for the caller to sync.
func createFile(dir string, seq uint64) (_ *bbolt.DB, err error) {
	path := filepath.Join(dir, newFileName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	db, err := openDB(path, nil)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close(), os.Remove(path))
		}
	}()
	err = db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket([]byte(bucketAside)); err != nil {
			return err
		}
		b, err := tx.CreateBucket([]byte(bucketRecords))
		if err != nil {
			return err
		}
		return b.SetSequence(seq)
	})
	if err != nil {
		return nil, err
	}
	return db, os.Rename(path, filepath.Join(dir, fileName))
}

// openDB opens a bbolt file. opened is told of the file beneath, if it is not nil.
func openDB(path string, opened func(*os.File)) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: time.Millisecond, // one try
		// The other kind searches its whole list for each page.
		FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, perm)
			if err == nil && opened != nil {
				opened(f)
			}
			return f, err
		},
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, ErrLocked
	}
	return db, err
}

// openChecked opens an existing file and reads all of it. bbolt meets damage with
// panics, and with memory faults where the file is too short; both become errors.
// What bbolt has mapped by then stays mapped, and locked, until the process ends.
func openChecked(path string) (db *bbolt.DB, err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			db, err = nil, errors.Join(fmt.Errorf("%v", v), file.Close())
		}
	}()
	db, err = openDB(path, func(f *os.File) { file = f })
	if err != nil {
		return nil, err
	}
	if err := check(db, file); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// check reads every page: first the records, here, where a fault is caught, and
// then whatever else bbolt knows how to check.
func check(db *bbolt.DB, file *os.File) error {
	return db.View(func(tx *bbolt.Tx) error {
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return fmt.Errorf("it has %d bytes of %d", info.Size(), tx.Size())
		}
		for _, name := range []string{bucketRecords, bucketAside} {
			b := tx.Bucket([]byte(name))
			if b == nil {
				return fmt.Errorf("it has no %s: it is not a spool's", name)
			}
			if err := b.ForEach(func(k, v []byte) error {
				if len(k) != 8 {
					return fmt.Errorf("a key has %d bytes", len(k))
				}
				return nil
			}); err != nil {
				return err
			}
		}
		var first error
		for err := range tx.Check() {
			if first == nil {
				first = err
			}
		}
		return first
	})
}
