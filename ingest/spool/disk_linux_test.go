package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// smallDisk returns a directory on its own file system of the given size, and a function
// that makes it read-only or writable.
func smallDisk(t *testing.T, bytes int) (dir string, writable func(bool)) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes))
	if errors.Is(err, syscall.EPERM) {
		t.Skip("mounting a small disk needs root")
	}
	testenv.NoError(t, err)
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, func(yes bool) {
		flags := uintptr(syscall.MS_REMOUNT)
		if !yes {
			flags |= syscall.MS_RDONLY
		}
		testenv.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", flags, ""))
	}
}

// down makes Redis fail and opens the breaker.
func (f *fixture) down(t *testing.T) {
	t.Helper()
	f.redis.set(errDown, false, errDown)
	f.check(t.Context())
}

func TestFullDiskRefusesDrainsAndTakesEventsAgain(t *testing.T) {
	t.Parallel()
	dir, _ := smallDisk(t, 512<<10)
	f := start(t, dir)
	for round := range 3 {
		f.down(t)
		var mu sync.Mutex
		acknowledged := make(map[string]bool)
		var putting sync.WaitGroup
		for putter := range 4 {
			putting.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("%d-%d-%d", round, putter, i)
					_, err := f.Enqueue(t.Context(), tasks.Task{Kind: tasks.KindEventRecord, ID: id, Payload: make([]byte, 100*i)})
					if err != nil {
						if !errors.Is(err, syscall.ENOSPC) {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					acknowledged[id] = true
					mu.Unlock()
				}
			})
		}
		putting.Wait()
		if len(acknowledged) < 20 {
			t.Errorf("round %d: only %d events fit", round, len(acknowledged))
		}
		if err := f.Check(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("check: %v", err)
		}
		f.redis.set(nil, false, nil)
		f.waitFor(t, 0)
		for _, id := range f.redis.have() {
			delete(acknowledged, id)
		}
		if len(acknowledged) > 0 {
			t.Errorf("round %d: %d acknowledged events are lost", round, len(acknowledged))
		}
	}
	if tmp, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(tmp) > 0 {
		t.Errorf("%d files are left in tmp/, %v", len(tmp), err)
	}
}

func TestReadOnlyDiskRefusesAndHandsOver(t *testing.T) {
	t.Parallel()
	dir, writable := smallDisk(t, 1<<20)
	f := start(t, dir)
	f.down(t)
	f.mustEnqueue(t, events("e", 10)...)
	writable(false)
	if _, err := f.Enqueue(t.Context(), event("refused")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("error %v, want %v", err, syscall.EROFS)
	}
	f.redis.set(nil, false, nil)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		got := make(map[string]bool)
		for _, id := range f.redis.have() {
			got[id] = true
		}
		if len(got) == 10 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of 10 events are in Redis", len(got))
		}
	}
	writable(true)
	f.waitFor(t, 0)
	if n := f.logs.FilterMessage("spool cannot be read or changed").Len(); n != 1 {
		t.Errorf("the disk's errors were logged %d times, want once", n)
	}
}
