package store

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFileIsNotADatabase(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("This is a text, not the header of a SQLite database, but long enough for one."), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a text": text, "a folder": dir} {
		if _, err := Open(t.Context(), "sqlite:"+path); !errors.Is(err, ErrNoDatabase) {
			t.Errorf("%s: %v, want ErrNoDatabase", name, err)
		}
	}
	other := errors.New("other")
	if got := explainSQLite(text, other); got != other { //nolint:errorlint // the same one
		t.Errorf("another error became %v", got)
	}
}

func TestLockedDatabaseIsErrBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.db")
	open := func() *sql.DB {
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(0)")
		if err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	holder, waiter := open(), open()
	for _, statement := range []string{"CREATE TABLE t (x)", "BEGIN EXCLUSIVE"} {
		if _, err := holder.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	_, err := waiter.ExecContext(t.Context(), "INSERT INTO t VALUES (1)")
	if got := explainSQLite(path, err); !errors.Is(got, ErrBusy) {
		t.Errorf("%v became %v, want ErrBusy", err, got)
	}
}
