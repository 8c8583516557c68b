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
	// ErrBusy reports that another program has locked a SQLite database.
	ErrBusy = errors.New("another program has locked the database")
	// ErrNoDatabase reports that a file is not a SQLite database.
	ErrNoDatabase = errors.New("this is not a SQLite database")
)

// explainSQLite explains why a SQLite database could not be opened. The database must be
// closed: closing a file drops all locks of this process on it.
func explainSQLite(path string, err error) error {
	var failure *sqlite.Error
	if !errors.As(err, &failure) {
		return err
	}
	switch failure.Code() & 0xff { // the primary code
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

// checkAccess checks that this user may write to a file and to its folder, where SQLite
// keeps its log.
func checkAccess(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	probe, err := os.CreateTemp(filepath.Dir(path), ".klinghook-*.tmp")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
