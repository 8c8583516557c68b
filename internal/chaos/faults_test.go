package chaos

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// size writes a number of bytes as Redis reads it.
func size(bytes int64) string { return strconv.FormatInt(bytes, 10) }

// usedMemory is what Redis uses, in bytes.
func (s *system) usedMemory() int64 {
	s.t.Helper()
	info, err := s.rdb.Info(s.ctx, "memory").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	for lines := bufio.NewScanner(strings.NewReader(info)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "used_memory:"); ok {
			used, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return used
		}
	}
	s.t.Fatal("Redis does not tell what it uses")
	return 0
}

// spooled is how many events are in the spools.
func (s *system) spooled() (n int) {
	for _, addr := range s.admins {
		depth, err := spoolDepth(s.ctx, addr)
		if err != nil {
			return 0
		}
		n += depth
	}
	return n
}

// lock takes a lock on a table that holds up whoever wants to write to it, and
// returns what gives it back. In the mode SHARE rows can still be selected for
// update.
func (s *system) lock(table, mode string) (unlock func()) {
	s.t.Helper()
	tx, err := s.db.BeginTx(s.ctx, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := tx.ExecContext(s.ctx, fmt.Sprintf("LOCK TABLE %s IN %s MODE", table, mode)); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			s.t.Error(err)
		}
	}
}

// heldUp reports whether a statement that begins so waits for a lock.
func (s *system) heldUp(statement string) bool {
	s.t.Helper()
	var n int
	err := s.db.QueryRowContext(s.ctx, `
		SELECT count(*) FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND starts_with(regexp_replace(ltrim(query, E' \n\t'), '\s+', ' ', 'g'), $1)`, statement).Scan(&n)
	if err != nil {
		s.t.Fatal(err)
	}
	return n > 0
}

// smallDisk returns a folder on a file system of its own, of so many bytes. Without
// the right to mount one the test is skipped.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	err := mountSmall(dir, bytes)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("a small disk needs Linux and the right to mount: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk takes all that is left of a disk, and returns what gives it back.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}
