package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

// configureRedis changes a setting of Redis.
func (s *system) configureRedis(name string, value any) {
	s.t.Helper()
	testenv.NoError(s.t, s.rdb.ConfigSet(s.ctx, name, fmt.Sprint(value)).Err())
}

// usedMemory returns how many bytes Redis uses.
func (s *system) usedMemory() int64 {
	s.t.Helper()
	info, err := s.rdb.Info(s.ctx, "memory").Result()
	testenv.NoError(s.t, err)
	used, err := strconv.ParseInt(usedMemory.FindStringSubmatch(info)[1], 10, 64)
	testenv.NoError(s.t, err)
	return used
}

var usedMemory = regexp.MustCompile(`used_memory:(\d+)`)

// spooled returns how many events are in the spools.
func (s *system) spooled() (n int) {
	for _, addr := range s.admins {
		depth, err := s.spoolDepth(addr)
		if err != nil {
			return 0
		}
		n += depth
	}
	return n
}

// lock returns a function that locks a table against writes, though rows can still be
// selected for update, and returns the function that unlocks it.
func (s *system) lock(table string) func() (unlock func()) {
	return func() func() { return s.lockBy("LOCK TABLE " + table + " IN SHARE MODE") }
}

// lockObjects delays rows of files whose object has just been published.
func (s *system) lockObjects() (unlock func()) {
	s.t.Helper()
	_, err := s.db.ExecContext(s.ctx, `
		CREATE OR REPLACE FUNCTION await_suite() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END';
		CREATE OR REPLACE TRIGGER await_suite BEFORE UPDATE ON media FOR EACH ROW
			WHEN (NEW.object IS DISTINCT FROM OLD.object) EXECUTE FUNCTION await_suite()`)
	testenv.NoError(s.t, err)
	return s.lockBy("SELECT pg_advisory_xact_lock(1)")
}

// lockBy runs a statement in a transaction, which unlock ends.
func (s *system) lockBy(statement string) (unlock func()) {
	s.t.Helper()
	tx, err := s.db.BeginTx(s.ctx, nil)
	testenv.NoError(s.t, err)
	_, err = tx.ExecContext(s.ctx, statement)
	testenv.NoError(s.t, err)
	return func() {
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			s.t.Error(err)
		}
	}
}

// waitsIn reports whether a statement that begins like this waits for a lock.
func (s *system) waitsIn(statement string) bool {
	s.t.Helper()
	return s.number(`
		SELECT count(*) FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND starts_with(regexp_replace(ltrim(query, E' \n\t'), '\s+', ' ', 'g'), $1)`, statement) > 0
}

// smallDisk returns a folder on a file system of this many bytes. Without the right
// to mount one the test is skipped.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	err := mountSmall(dir, bytes)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("a small disk needs Linux and the right to mount: %v", err)
	}
	testenv.NoError(t, err)
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk uses all free space of a disk, and returns the function that frees it.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	testenv.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	testenv.NoError(t, f.Close())
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// buildWithClock builds the programs with a fast time.Now, and returns their folder.
// go build replaces one file of the standard library and compiles everything again,
// which takes minutes the first time.
func buildWithClock(t *testing.T, ahead time.Duration) string {
	t.Helper()
	original := filepath.Join(runtime.GOROOT(), "src", "time", "time.go") //nolint:staticcheck // The file is where the go command finds it.
	code, err := os.ReadFile(original)
	testenv.NoError(t, err)
	const reading = "\tsec, nsec, mono := runtimeNow()\n"
	changed := strings.Replace(string(code), reading, reading+fmt.Sprintf("\tsec += %d\n", ahead/time.Second), 1)
	if changed == string(code) {
		t.Fatalf("%s does not read the clock as expected", original)
	}
	dir := t.TempDir()
	replacement, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	testenv.NoError(t, err)
	for path, content := range map[string]string{replacement: changed, overlay: string(list)} {
		testenv.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	testenv.NoError(t, build(ctx, dir, "-overlay", overlay))
	return dir
}
