package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/klinghook/klinghook/tasks"
)

func event(id string) tasks.Task {
	return tasks.Task{Kind: tasks.KindEventRecord, ID: id, Payload: []byte(`{"id":"` + id + `"}`)}
}

func events(prefix string, n int) []tasks.Task {
	var list []tasks.Task
	for i := range n {
		list = append(list, event(fmt.Sprintf("%s%04d", prefix, i)))
	}
	return list
}

// mustOpen opens a spool that ends with the test.
func mustOpen(t testing.TB, cfg Config) *Spool {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, s) })
	return s
}

func mustClose(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func mustPut(t testing.TB, s *Spool, list ...tasks.Task) {
	t.Helper()
	for _, task := range list {
		if err := s.Put(context.Background(), task); err != nil {
			t.Fatalf("put %s: %v", task.ID, err)
		}
	}
}

func mustRead(t testing.TB, s *Spool, after uint64, limit int) []Record {
	t.Helper()
	records, err := s.Read(context.Background(), after, limit)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func ids(records []Record) []string {
	var list []string
	for _, r := range records {
		list = append(list, r.Task.ID)
	}
	return list
}

func TestRecordsComeBackInOrder(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "deep", "spool")}
	s := mustOpen(t, cfg)
	list := events("e", 300) // more than a byte counts
	mustPut(t, s, list...)
	mustClose(t, s)

	s = mustOpen(t, cfg)
	var got []tasks.Task
	var last uint64
	for {
		records := mustRead(t, s, last, 77)
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			if r.Damaged != nil || r.Seq <= last || time.Since(r.ArrivedAt) > time.Minute {
				t.Fatalf("after %d: %+v", last, r)
			}
			last = r.Seq
			got = append(got, r.Task)
		}
	}
	if diff := cmp.Diff(list, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDelete(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := mustOpen(t, cfg)
	mustPut(t, s, events("e", 4)...)
	r := mustRead(t, s, 0, 10)
	for range 2 { // what is not there is passed over
		if err := s.Delete(t.Context(), r[0].Seq, r[2].Seq, 999); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"e0001", "e0003"}
	if diff := cmp.Diff(want, ids(mustRead(t, s, 0, 10))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	mustClose(t, s)
	s = mustOpen(t, cfg)
	if diff := cmp.Diff(want, ids(mustRead(t, s, 0, 10))); diff != "" {
		t.Errorf("opened again (-want +got):\n%s", diff)
	}
	mustPut(t, s, event("e0003")) // the same again is fine
	if got := ids(mustRead(t, s, 0, 10)); len(got) != 3 {
		t.Errorf("records %q", got)
	}
}

func TestStats(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	cfg := Config{Dir: t.TempDir(), MaxBytes: 1 << 20, Now: func() time.Time { return now }}
	s := mustOpen(t, cfg)
	if diff := cmp.Diff(Stats{MaxBytes: 1 << 20}, s.Stats()); diff != "" {
		t.Errorf("empty (-want +got):\n%s", diff)
	}
	size := int64(8 + recordFixed + len("event:record") + len("e0000") + len(`{"id":"e0000"}`))
	first := now
	for _, task := range events("e", 3) {
		mustPut(t, s, task)
		now = now.Add(time.Minute)
	}
	want := Stats{Events: 3, Bytes: 3 * size, MaxBytes: 1 << 20, Oldest: first}
	if diff := cmp.Diff(want, s.Stats()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if age := s.Stats().Age(now); age != 3*time.Minute {
		t.Errorf("age %v", age)
	}
	if age := s.Stats().Age(first.Add(-time.Hour)); age != 0 {
		t.Errorf("age %v by a clock that was put back", age)
	}
	if err := s.Delete(t.Context(), mustRead(t, s, 0, 1)[0].Seq); err != nil {
		t.Fatal(err)
	}
	want = Stats{Events: 2, Bytes: 2 * size, MaxBytes: 1 << 20, Oldest: first.Add(time.Minute)}
	if diff := cmp.Diff(want, s.Stats()); diff != "" {
		t.Errorf("after a delete (-want +got):\n%s", diff)
	}
	mustClose(t, s)
	if diff := cmp.Diff(want, mustOpen(t, cfg).Stats()); diff != "" {
		t.Errorf("opened again (-want +got):\n%s", diff)
	}
}

func TestMaxBytes(t *testing.T) {
	const limit = 64 << 10
	s := mustOpen(t, Config{Dir: t.TempDir(), MaxBytes: limit})
	big := tasks.Task{Kind: tasks.KindEventRecord, ID: "big", Payload: make([]byte, 1000)}
	var mu sync.Mutex
	stored := 0
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			switch err := s.Put(t.Context(), big); {
			case err == nil:
				mu.Lock()
				stored++
				mu.Unlock()
			case !errors.Is(err, ErrFull):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	size := int64(8 + recordFixed + len("event:record") + len("big") + 1000)
	stats := s.Stats()
	if want := int(limit / size); stored != want || stats.Events != want || stats.Bytes > limit {
		t.Errorf("%d stored, want %d; stats %+v", stored, want, stats)
	}
	if err := s.Put(t.Context(), tasks.Task{Kind: "k", ID: "small"}); err != nil {
		t.Errorf("what has room was refused: %v", err)
	}
	if err := s.Put(t.Context(), big); !errors.Is(err, ErrFull) {
		t.Errorf("error %v, want %v", err, ErrFull)
	}
	// What is deleted gives its room back.
	if err := s.Delete(t.Context(), mustRead(t, s, 0, 1)[0].Seq); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, big)
}

func TestReadIsBounded(t *testing.T) {
	s := mustOpen(t, Config{Dir: t.TempDir()})
	for i := range 6 {
		mustPut(t, s, tasks.Task{Kind: tasks.KindEventRecord, ID: fmt.Sprint(i), Payload: make([]byte, 1<<20)})
	}
	if got := len(mustRead(t, s, 0, 100)); got != 3 {
		t.Errorf("%d MiB at once, want 3", got)
	}
	mustPut(t, s, tasks.Task{Kind: tasks.KindEventRecord, ID: "huge", Payload: make([]byte, 2*readBytes)})
	if got := ids(mustRead(t, s, 6, 100)); fmt.Sprint(got) != "[huge]" {
		t.Errorf("read %q, want the one that is too large", got)
	}
}

func TestSetAside(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := mustOpen(t, cfg)
	mustPut(t, s, events("e", 3)...)
	before := mustRead(t, s, 0, 10)
	if err := s.SetAside(t.Context(), before[1].Seq); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"e0000", "e0002"}, ids(mustRead(t, s, 0, 10))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if stats := s.Stats(); stats.Events != 2 || stats.Aside != 1 {
		t.Errorf("stats %+v", stats)
	}
	mustClose(t, s)
	s = mustOpen(t, cfg)
	if diff := cmp.Diff(before, mustRead(t, s, 0, 10)); diff != "" {
		t.Errorf("opened again (-want +got):\n%s", diff)
	}
	if stats := s.Stats(); stats.Events != 3 || stats.Aside != 0 {
		t.Errorf("opened again: stats %+v", stats)
	}
}

func TestDamagedRecordIsReported(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := mustOpen(t, cfg)
	mustPut(t, s, events("e", 2)...)
	mustClose(t, s)
	db, err := bbolt.Open(filepath.Join(cfg.Dir, fileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketRecords)).Put(seqKey(1), []byte("rot"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	records := mustRead(t, mustOpen(t, cfg), 0, 10)
	if len(records) != 2 || records[0].Damaged == nil || records[1].Damaged != nil || records[1].Task.ID != "e0001" {
		t.Errorf("records %+v", records)
	}
}

func TestShrinksOnceEmpty(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := mustOpen(t, cfg)
	path := filepath.Join(cfg.Dir, fileName)
	for i := range 24 {
		mustPut(t, s, tasks.Task{Kind: tasks.KindEventRecord, ID: fmt.Sprint(i), Payload: make([]byte, 1<<20)})
	}
	for {
		records := mustRead(t, s, 0, 10)
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			if err := s.Delete(t.Context(), r.Seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 1<<20 {
		t.Errorf("the empty file has %d bytes", info.Size())
	}
	mustPut(t, s, event("after"))
	if r := mustRead(t, s, 0, 10); len(r) != 1 || r[0].Seq != 25 {
		t.Errorf("the next record is %+v; its number must not have been given before", r)
	}
	mustClose(t, s)
	if r := mustRead(t, mustOpen(t, cfg), 0, 10); len(r) != 1 || r[0].Task.ID != "after" {
		t.Errorf("opened again: %+v", r)
	}
}

func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	mustOpen(t, Config{Dir: dir})
	for path, want := range map[string]os.FileMode{
		dir:                             0o700,
		filepath.Join(dir, fileName):    0o600,
		filepath.Join(dir, lockName):    0o600,
		filepath.Join(dir, reserveName): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(path), got, want)
		}
	}
}

func TestContext(t *testing.T) {
	s := mustOpen(t, Config{Dir: t.TempDir()})
	release := make(chan struct{})
	holding := make(chan struct{})
	go func() {
		s.ops <- func() { close(holding); <-release } // a disk that hangs
	}()
	<-holding
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Put(ctx, event("e")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Read(ctx, 0, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	if err := s.Delete(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("delete: %v", err)
	}
	close(release)
	mustPut(t, s, event("e"))
}

func TestClosed(t *testing.T) {
	s := mustOpen(t, Config{Dir: t.TempDir()})
	mustClose(t, s)
	mustClose(t, s)
	_, readErr := s.Read(t.Context(), 0, 1)
	for name, err := range map[string]error{
		"put": s.Put(t.Context(), event("e")), "read": readErr, "delete": s.Delete(t.Context(), 1), "set aside": s.SetAside(t.Context(), 1),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want %v", name, err, ErrClosed)
		}
	}
}

func TestOpenRefusesDamage(t *testing.T) {
	tests := []struct {
		name   string
		damage func(b []byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"text", func([]byte) []byte { return []byte(strings.Repeat("not a spool\n", 1000)) }},
		{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }},
		{"one page", func(b []byte) []byte { return b[:4096] }},
		{"cut by half", func(b []byte) []byte { return b[:len(b)/2/4096*4096] }},
		{"cut within a page", func(b []byte) []byte { return b[:len(b)/2+100] }},
		{"both meta pages", func(b []byte) []byte { clear(b[:8192]); return b }},
		{"all but the meta pages", func(b []byte) []byte { clear(b[8192:]); return b }},
		{"noise behind the meta pages", func(b []byte) []byte {
			for i := 8192; i < len(b); i++ {
				b[i] = byte(i*7 + i>>8)
			}
			return b
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir()}
			s := mustOpen(t, cfg)
			for i := range 100 {
				mustPut(t, s, tasks.Task{Kind: tasks.KindEventRecord, ID: fmt.Sprint(i), Payload: bytes.Repeat([]byte("x"), 3000)})
			}
			mustClose(t, s)
			path := filepath.Join(cfg.Dir, fileName)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := tt.damage(b)
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}

			if _, err = Open(cfg); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "move it") {
				t.Fatalf("error %v, want %v and what to do", err, ErrDamaged)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, damaged) {
				t.Errorf("the file was changed (%v)", err)
			}
			// What the error says to do works.
			if err := os.Rename(path, filepath.Join(t.TempDir(), "kept")); err != nil {
				t.Fatal(err)
			}
			mustPut(t, mustOpen(t, cfg), event("new"))
		})
	}
}

// A kill while the first file was made leaves a name that is not yet the spool's.
func TestOpenAfterHalfACreation(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, newFileName), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, reserveName), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, Config{Dir: dir})
	mustPut(t, s, event("e"))
	if info, err := os.Stat(filepath.Join(dir, reserveName)); err != nil || info.Size() != reserveSize {
		t.Errorf("reserve: %v, %v", info, err)
	}
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Dir: filepath.Join(file, "spool")})
	if err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "open spool") {
		t.Errorf("error %v", err)
	}
}

func TestLockWithinAProcess(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, Config{Dir: dir})
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v, want %v", err, ErrLocked)
	}
}

func BenchmarkPut(b *testing.B) {
	for _, putters := range []int{1, 64} {
		b.Run(fmt.Sprintf("putters=%d", putters), func(b *testing.B) {
			s := mustOpen(b, Config{Dir: b.TempDir()})
			task := tasks.Task{Kind: tasks.KindEventRecord, ID: "event:record:klingai:1", Payload: make([]byte, 1000)}
			left := make(chan struct{}, b.N)
			for range b.N {
				left <- struct{}{}
			}
			close(left)
			b.ResetTimer()
			var wg sync.WaitGroup
			for range putters {
				wg.Go(func() {
					for range left {
						if err := s.Put(context.Background(), task); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
