package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// ErrBusy is matched when another program holds the lock of a SQLite database.
	ErrBusy = errors.New("another program has locked the database")
	// ErrNoDatabase is matched when a file is none of SQLite's.
	ErrNoDatabase = errors.New("this is no SQLite database")
)

// explainSQLite says why a SQLite database could not be opened, where SQLite itself
// says little. The database must be closed: to close a file lets go of the locks that
// this process has on it.
func explainSQLite(path string, err error) error {
	var failure *sqlite.Error
	if !errors.As(err, &failure) {
		return err
	}
	switch failure.Code() & 0xff { // without what kind of it
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("open database: %w", ErrBusy)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("open database: %w", ErrNoDatabase)
	}
	if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
		return fmt.Errorf("open database: %s is a folder: %w", path, ErrNoDatabase)
	}
	if denied := checkAccess(path); errors.Is(denied, fs.ErrPermission) {
		return fmt.Errorf("open database: %w", denied)
	}
	return err
}

// checkAccess reports that this user may not write to a file, or not beside it, where
// SQLite has its log.
func checkAccess(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	beside, err := os.CreateTemp(filepath.Dir(path), ".klinghook-*.tmp")
	if err != nil {
		return err
	}
	return errors.Join(beside.Close(), os.Remove(beside.Name()))
}
