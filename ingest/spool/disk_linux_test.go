package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// smallDisk returns a directory on a file system of its own, of so many bytes.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes))
	if errors.Is(err, syscall.EPERM) {
		t.Skip("a small disk needs the right to mount")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill puts events of all sizes from several goroutines until none is taken any
// more, and returns the IDs of those that were.
func fill(t *testing.T, s *Spool, prefix string, largest int) map[string]bool {
	t.Helper()
	var mu sync.Mutex
	acknowledged := make(map[string]bool)
	var wg sync.WaitGroup
	for putter := range 4 {
		wg.Go(func() {
			for i, refused := 0, 0; refused < 5; i++ {
				id := fmt.Sprintf("%s-%d-%d", prefix, putter, i)
				err := s.Put(t.Context(), tasks.Task{Kind: tasks.KindEventRecord, ID: id, Payload: make([]byte, rand.IntN(largest))})
				switch {
				case err == nil:
					mu.Lock()
					acknowledged[id] = true
					mu.Unlock()
				case errors.Is(err, syscall.ENOSPC):
					refused++
				default:
					t.Errorf("put: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	return acknowledged
}

// empty drains the spool by hand, n at a time, and returns the IDs. That the disk
// is too full to delete from it may cost an error, but no progress.
func empty(t *testing.T, s *Spool, n int) map[string]bool {
	t.Helper()
	got := make(map[string]bool)
	for {
		records := mustRead(t, s, 0, n)
		if len(records) == 0 {
			return got
		}
		var seqs []uint64
		for _, r := range records {
			if r.Damaged != nil {
				t.Fatalf("record %d: %v", r.Seq, r.Damaged)
			}
			got[r.Task.ID] = true
			seqs = append(seqs, r.Seq)
		}
		before := s.Stats().Events
		if err := s.Delete(t.Context(), seqs...); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if after := s.Stats().Events; after != before-len(seqs) {
			t.Fatalf("%d of %d events are left after %d were deleted", after, before, len(seqs))
		}
	}
}

// A full disk loses nothing that was acknowledged, can always be drained, and takes
// events again afterwards.
func TestFullDisk(t *testing.T) {
	tests := []struct {
		name string
		// disk and event are the sizes of the disk and of the largest event in bytes.
		disk, event int
		batch       int
	}{
		{"one at a time", 2 << 20, 10 << 10, 1},
		{"many at a time", 2 << 20, 10 << 10, 100},
		{"small events", 2 << 20, 200, 100},
		{"more than an empty file keeps", 24 << 20, 100 << 10, 7},
		{"events larger than the reserve", 12 << 20, 3 << 20, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := smallDisk(t, tt.disk)
			s := mustOpen(t, Config{Dir: dir})
			for round := range 3 {
				acknowledged := fill(t, s, fmt.Sprint(round), tt.event)
				if len(acknowledged) < tt.disk/tt.event/4 {
					t.Errorf("round %d: only %d events found room", round, len(acknowledged))
				}
				if round%2 == 1 { // a restart on a full disk
					mustClose(t, s)
					s = mustOpen(t, Config{Dir: dir})
				}
				got := empty(t, s, tt.batch)
				for id := range acknowledged {
					if !got[id] {
						t.Errorf("%s was acknowledged, and is lost", id)
					}
				}
			}
			mustPut(t, s, event("after"))
			mustClose(t, s)
		})
	}
}

// occupy takes all that is left of a disk.
func occupy(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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
}

// fillUp puts events until none is taken, and returns how many were.
func fillUp(t *testing.T, s *Spool) (n int) {
	t.Helper()
	for {
		err := s.Put(t.Context(), event(fmt.Sprint(n)))
		if errors.Is(err, syscall.ENOSPC) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
}

func TestDiskFilledByOthers(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	s := mustOpen(t, Config{Dir: filepath.Join(dir, "spool")})
	mustPut(t, s, events("e", 100)...)
	occupy(t, filepath.Join(dir, "other"))
	n := 100 + fillUp(t, s)
	if stats := s.Stats(); !errors.Is(stats.WriteErr, syscall.ENOSPC) || stats.Events != n {
		t.Errorf("stats %+v, want %d events", stats, n)
	}
	if err := os.Remove(filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, event("last")) // at once: the reserve was not needed
	if got := empty(t, s, 10); !got["e0000"] || !got["e0099"] || !got["last"] {
		t.Errorf("got %d events of %d", len(got), n+1)
	}
	mustClose(t, s)
}

// Not even the reserve is there, and not even an empty file finds room.
func TestDiskWithoutAnySpace(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	cfg := Config{Dir: filepath.Join(dir, "spool")}
	s := mustOpen(t, cfg)
	occupy(t, filepath.Join(dir, "other"))
	n := fillUp(t, s)
	if _, err := do(t.Context(), s, func() (int, error) { return 0, s.reserve.release() }); err != nil {
		t.Fatal(err)
	}
	occupy(t, filepath.Join(dir, "other"))
	if got := empty(t, s, 1); len(got) != n {
		t.Errorf("got %d events of %d", len(got), n)
	}
	if err := s.Put(t.Context(), event("refused")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("put without space to delete it: %v", err)
	}
	occupy(t, filepath.Join(dir, "other"))
	mustClose(t, s)
	s = mustOpen(t, cfg)
	if stats := s.Stats(); stats.Events != 0 {
		t.Errorf("opened again: stats %+v", stats)
	}
	if err := os.Remove(filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	if _, err := do(t.Context(), s, func() (int, error) { s.reserve.tried = time.Time{}; return 0, nil }); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, event("after"))
	mustClose(t, s)
}
