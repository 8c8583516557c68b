package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// dataLock is dev's lock on its data directory. The lock ends with the process, even if it
// is killed.
type dataLock struct{ file *os.File }

// devLockFile is the locked file in the data directory. It contains the process id.
const devLockFile = "dev.lock"

// lockData locks the data directory, and creates it if needed. Without the lock, two devs
// would overwrite each other's addresses and enqueue each other's running work again.
func lockData(data string) (*dataLock, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, dataError(fmt.Errorf("create data directory: %w", err))
	}
	file, err := os.OpenFile(filepath.Join(data, devLockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, dataError(fmt.Errorf("lock data directory: %w", err))
	}
	locked, err := tryLock(file)
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock data directory: %w", err), file.Close())
	case !locked:
		return nil, errors.Join(fmt.Errorf("`klinghook dev` already runs on %s%s; stop it, or set KLINGHOOK_DATA (--data) to another directory", data, holder(file)), file.Close())
	}
	if err := writeHolder(file); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory: %w", err), file.Close())
	}
	return &dataLock{file}, nil
}

func writeHolder(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder returns the id of the process that has the lock, if known, as a suffix.
func holder(file *os.File) string {
	content, err := io.ReadAll(io.LimitReader(file, 32))
	if pid := strings.TrimSpace(string(content)); err == nil && pid != "" {
		return " (process " + pid + ")"
	}
	return ""
}

func (l *dataLock) close() error { return l.file.Close() }
