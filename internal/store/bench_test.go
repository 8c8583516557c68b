package store_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// BenchmarkRecord is what an event costs, by how much follows from it: recorded and
// marked as processed, one by one by sixteen at once, and sixteen together by as many
// at once as a worker has at most.
func BenchmarkRecord(b *testing.B) {
	databases := map[string]func(b *testing.B) string{
		"sqlite":   func(b *testing.B) string { return "sqlite:" + filepath.Join(b.TempDir(), "k.db") },
		"postgres": func(b *testing.B) string { return testenv.Postgres(b) },
	}
	for _, name := range []string{"sqlite", "postgres"} {
		for _, kind := range []string{tasks.TypeProcessing, tasks.TypeCompleted} {
			for _, together := range []int{1, 16} {
				b.Run(fmt.Sprintf("%s/%s/%d", name, kind, together), func(b *testing.B) {
					db, err := store.Create(b.Context(), databases[name](b))
					if err != nil {
						b.Fatal(err)
					}
					defer func() { _ = db.Close() }()
					if _, err := db.Migrate(b.Context()); err != nil {
						b.Fatal(err)
					}
					by := 16
					if together > 1 {
						by = db.Writers()
					}
					recordMany(b, db, kind, together, by)
				})
			}
		}
	}
}

// recordMany records b.N events, so many together, by so many at once.
func recordMany(b *testing.B, db *store.Store, kind string, together, by int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range by {
		wg.Go(func() {
			for {
				last := int(next.Add(int64(together)))
				first := last - together
				if first >= b.N {
					return
				}
				recordBatch(b, db, kind, first, min(last, b.N))
			}
		})
	}
	wg.Wait()
}

// recordBatch records events of jobs: of four the fourth that processes one, or each
// completes one.
func recordBatch(b *testing.B, db *store.Store, kind string, first, end int) {
	var list []store.Recording
	var unsettled []string
	for n := first; n < end; n++ {
		ev, update := completed()
		r := store.Recording{Update: update}
		ev.ID, ev.JobID = fmt.Sprintf("klingai:%d", n), fmt.Sprintf("vid_%d", n)
		switch kind {
		case tasks.TypeCompleted:
			r.Destinations = []string{"forward-1"}
			unsettled = append(unsettled, ev.ID)
		default:
			ev.JobID = fmt.Sprintf("vid_%d", n/4)
			update.Status, update.Media, update.FinishedAt = tasks.StatusProcessing, nil, time.Time{}
		}
		ev.Type, update.EventID, update.JobID = kind, ev.ID, ev.JobID
		r.Event = ev
		list = append(list, r)
	}
	if _, err := db.Record(b.Context(), list, received); err != nil {
		b.Error(err)
	}
	if err := db.MarkProcessed(b.Context(), unsettled, received); err != nil {
		b.Error(err)
	}
}
