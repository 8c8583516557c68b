//go:build unix

package media

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// hold locks a temporary file until what it returns is closed, or the process ends,
// however it ends. That is another handle than the writer's, so that the file is held
// until it has the object's name. ok is false when the file was taken for a leftover
// before it was locked. Where there are no locks, its age must tell.
func hold(path string) (held *os.File, ok bool) {
	held, err := os.Open(path)
	if err != nil {
		return nil, !errors.Is(err, fs.ErrNotExist)
	}
	// Whoever has the lock is about to remove the file, and takes no time for it.
	if flock(held, syscall.LOCK_EX) != nil {
		return held, true
	}
	named, err := os.Stat(path)
	mine, mineErr := held.Stat()
	if errors.Is(err, fs.ErrNotExist) || err == nil && mineErr == nil && !os.SameFile(named, mine) {
		_ = held.Close() // nothing was written
		return nil, false
	}
	return held, true
}

// removeUnheld removes a temporary file if nobody holds it. It does so under the
// lock, so that whoever has just made the file notices.
func removeUnheld(path string) (removed bool) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	if flock(f, syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		removed = os.Remove(path) == nil
	}
	_ = f.Close() // nothing was written
	return removed
}

func flock(f *os.File, how int) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if lockErr = syscall.Flock(int(fd), how); !errors.Is(lockErr, syscall.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, lockErr)
}
