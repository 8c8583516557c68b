package store_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/store"
	"github.com/klinghook/klinghook/tasks"
)

// BenchmarkRecord is what an event costs, by how much follows from it: recorded and
// marked as processed, by sixteen at once, as the workers do by default.
func BenchmarkRecord(b *testing.B) {
	databases := map[string]func(b *testing.B) string{
		"sqlite":   func(b *testing.B) string { return "sqlite:" + filepath.Join(b.TempDir(), "k.db") },
		"postgres": func(b *testing.B) string { return testenv.Postgres(b) },
	}
	for _, name := range []string{"sqlite", "postgres"} {
		for _, kind := range []string{tasks.TypeProcessing, tasks.TypeCompleted} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				db, err := store.Create(b.Context(), databases[name](b))
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = db.Close() }()
				if _, err := db.Migrate(b.Context()); err != nil {
					b.Fatal(err)
				}
				var n atomic.Int64
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						recordOne(b, db, kind, n.Add(1))
					}
				})
			})
		}
	}
}

// recordOne records one event of a job: the fourth that processes it, or the one that
// completes it.
func recordOne(b *testing.B, db *store.Store, kind string, n int64) {
	ev, update := completed()
	var destinations []string
	ev.ID, ev.JobID = fmt.Sprintf("klingai:%d", n), fmt.Sprintf("vid_%d", n)
	switch kind {
	case tasks.TypeCompleted:
		destinations = []string{"forward-1"}
	default:
		ev.JobID = fmt.Sprintf("vid_%d", n/4)
		update.Status, update.Media, update.FinishedAt = tasks.StatusProcessing, nil, time.Time{}
	}
	ev.Type, update.EventID, update.JobID = kind, ev.ID, ev.JobID
	if _, err := db.Record(b.Context(), ev, update, destinations); err != nil {
		b.Error(err)
	}
	if err := db.MarkProcessed(b.Context(), ev.ID, received); err != nil {
		b.Error(err)
	}
}
