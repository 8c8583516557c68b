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

// dataLock says that a dev runs on a data folder. It ends with the process,
// however that ends.
type dataLock struct{ file *os.File }

// devLockFile is the file in the data folder that is locked. It holds the
// process's id, for people.
const devLockFile = "dev.lock"

// lockData makes the data folder where it is missing, and takes it for this
// process. Two would write over each other's address, and each would queue again
// what the other has in hand.
func lockData(data string) (*dataLock, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, dataError(fmt.Errorf("make data folder: %w", err))
	}
	file, err := os.OpenFile(filepath.Join(data, devLockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, dataError(fmt.Errorf("lock data folder: %w", err))
	}
	held, err := tryLock(file)
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock data folder: %w", err), file.Close())
	case !held:
		return nil, errors.Join(fmt.Errorf("`klinghook dev` runs on %s already%s; stop that one, or give this one a folder of its own with KLINGHOOK_DATA (--data)", data, holder(file)), file.Close())
	}
	if err := writeHolder(file); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data folder: %w", err), file.Close())
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

// holder names the process that has the lock, as far as that is known.
func holder(file *os.File) string {
	content, err := io.ReadAll(io.LimitReader(file, 32))
	if pid := strings.TrimSpace(string(content)); err == nil && pid != "" {
		return " (process " + pid + ")"
	}
	return ""
}

func (l *dataLock) close() error { return l.file.Close() }
