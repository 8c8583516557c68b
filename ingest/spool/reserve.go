package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// reserveSize is more than the largest delete needs before it frees anything.
	reserveSize = 1 << 20
	// reserveRetry keeps a full disk from being written to for each event.
	reserveRetry = time.Second
)

// reserve is disk space that is held back for deleting: bbolt writes new pages
// before it frees old ones, so that a file on a full disk could not be emptied.
type reserve struct {
	path    string
	present bool
	tried   time.Time
	err     error
}

// newReserve takes over the reserve that an earlier process left, or tries to make
// one.
func newReserve(dir string) *reserve {
	r := &reserve{path: filepath.Join(dir, reserveName)}
	if info, err := os.Stat(r.path); err == nil && info.Size() == reserveSize {
		r.present = true
		return r
	}
	_ = r.hold() // on a full disk; Put tries again and says so
	return r
}

// hold makes the reserve unless it is there. Its error is that the disk is full,
// or broken.
func (r *reserve) hold() error {
	if r.present {
		return nil
	}
	if r.err != nil && time.Since(r.tried) < reserveRetry {
		return r.err
	}
	r.tried, r.err = time.Now(), nil
	if err := r.write(); err != nil {
		r.err = fmt.Errorf("hold back space for the drain: %w", err)
		return r.err
	}
	r.present = true
	return nil
}

// write fills the file with bytes that no file system can compress away.
func (r *reserve) write() error {
	data := make([]byte, reserveSize)
	_, _ = rand.Read(data) // never fails
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		// Half a reserve is no use, and takes up what the drain may need.
		return errors.Join(err, os.Remove(r.path))
	}
	return nil
}

// release gives the space to whoever writes next. Its error is that there is none.
func (r *reserve) release() error {
	r.err = nil // what was no room for it may be some now
	if !r.present {
		return errors.New("the reserve is used up")
	}
	r.present = false
	return os.Remove(r.path)
}
