//go:build !unix

package spool

import (
	"os"
	"path/filepath"
)

// lockDir leaves it to bbolt's lock on spool.db to keep a second process out.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
}

// syncDir does nothing where directories cannot be synced.
func syncDir(string) error { return nil }
