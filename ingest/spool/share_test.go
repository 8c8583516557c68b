package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

// mustShare opens a spool in a shared directory. The test closes it.
func mustShare(t *testing.T, cfg Config) *Spool {
	t.Helper()
	s, err := OpenShared(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, s) })
	return s
}

// mustAdopt expects that so many records are moved.
func mustAdopt(t *testing.T, s *Spool, want int) {
	t.Helper()
	if n, err := s.Adopt(t.Context()); n != want || err != nil {
		t.Fatalf("adopted %d, %v; want %d", n, err, want)
	}
}

func TestSharedDirectoriesAreTakenInOrder(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "spool")}
	first, second, third := mustShare(t, cfg), mustShare(t, cfg), mustShare(t, cfg)
	mustClose(t, second)
	again := mustShare(t, cfg)
	for i, s := range []*Spool{first, again, third} {
		if got, want := s.Dir(), filepath.Join(cfg.Dir, string(rune('0'+i))); got != want {
			t.Errorf("directory %s, want %s", got, want)
		}
	}
}

func TestAdopt(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	mine, gone, running := mustShare(t, cfg), mustShare(t, cfg), mustShare(t, cfg)
	mustPut(t, mine, event("mine"))
	mustPut(t, gone, events("gone", 250)...) // more than two batches
	mustPut(t, running, event("running"))
	mustClose(t, gone)
	// What is not a spool is left as it is.
	for _, other := range []string{"lost+found", "-1", "7"} {
		if err := os.Mkdir(filepath.Join(cfg.Dir, other), 0o700); err != nil {
			t.Fatal(err)
		}
	}

	mustAdopt(t, mine, 250)
	want := append([]string{"mine"}, taskIDs(events("gone", 250))...)
	got := ids(mustRead(t, mine, 0, 1000))
	slices.Sort(got[1:]) // a batch is put all at once
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := ids(mustRead(t, running, 0, 10)); len(got) != 1 {
		t.Errorf("a spool that a process has holds %q, want its one event", got)
	}
	left := mustShare(t, cfg)
	if got := left.Stats().Events; left.Dir() != gone.Dir() || got != 0 {
		t.Errorf("%d events are left in %s, want none in %s", got, left.Dir(), gone.Dir())
	}
	mustClose(t, left)
	mustAdopt(t, mine, 0)
	if _, err := os.Stat(filepath.Join(cfg.Dir, "7", lockName)); !errors.Is(err, os.ErrNotExist) {
		t.Error("a directory without a spool was made into one")
	}
}

// TestAdoptIntoAFullSpool holds that what does not fit stays where it is.
func TestAdoptIntoAFullSpool(t *testing.T) {
	dir := t.TempDir()
	mine := mustShare(t, Config{Dir: dir, MaxBytes: 300})
	gone := mustShare(t, Config{Dir: dir})
	mustPut(t, gone, events("gone", 20)...)
	mustClose(t, gone)
	n, err := mine.Adopt(t.Context())
	if !errors.Is(err, ErrFull) || n == 0 || n == 20 {
		t.Fatalf("adopted %d, %v; want some and ErrFull", n, err)
	}
	left := mustOpen(t, Config{Dir: gone.Dir()})
	got := append(ids(mustRead(t, mine, 0, 100)), ids(mustRead(t, left, 0, 100))...)
	slices.Sort(got)
	if diff := cmp.Diff(taskIDs(events("gone", 20)), got); diff != "" || left.Stats().Events != 20-n {
		t.Errorf("%d of 20 were moved and %d are left: %s", n, left.Stats().Events, diff)
	}
}

// TestAdoptOfDamage holds that a damaged record is passed over and kept, and a
// damaged file is left as it is and reported.
func TestAdoptOfDamage(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	mine, gone, broken := mustShare(t, cfg), mustShare(t, cfg), mustShare(t, cfg)
	mustPut(t, gone, event("a"), event("b"))
	mustClose(t, gone)
	mustClose(t, broken)
	db, err := bbolt.Open(filepath.Join(gone.Dir(), fileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketRecords)).Put(seqKey(1), []byte("no record"))
	})
	if err := errors.Join(err, db.Close(), os.WriteFile(filepath.Join(broken.Dir(), fileName), []byte("no spool"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if n, err := mine.Adopt(t.Context()); n != 1 || !errors.Is(err, ErrDamaged) {
		t.Errorf("adopted %d, %v; want the good record, and the damaged file's error", n, err)
	}
	if got := ids(mustRead(t, mine, 0, 10)); !slices.Equal(got, []string{"b"}) {
		t.Errorf("the spool holds %q", got)
	}
	if got := mustOpen(t, Config{Dir: gone.Dir()}).Stats().Events; got != 1 {
		t.Errorf("%d records are kept where the damaged one was, want it", got)
	}
	if kept, err := os.ReadFile(filepath.Join(broken.Dir(), fileName)); string(kept) != "no spool" || err != nil {
		t.Errorf("the damaged file holds %q, %v", kept, err)
	}
}

// TestAdoptEndsWithItsContext holds that a stop in the middle loses nothing.
func TestAdoptEndsWithItsContext(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	mine, gone := mustShare(t, cfg), mustShare(t, cfg)
	mustPut(t, gone, events("gone", 5)...)
	mustClose(t, gone)
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := mine.Adopt(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was stopped", err)
	}
	if _, err := mine.Adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := ids(mustRead(t, mine, 0, 100))
	slices.Sort(got)
	if diff := cmp.Diff(taskIDs(events("gone", 5)), slices.Compact(got)); diff != "" {
		t.Error(diff)
	}
}
