package store_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// fill adds rows to every table.
func fill(t *testing.T, db *store.Store) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		testenv.NoError(t, err)
	}
	ev, update := completed()
	ev.Body = []byte("{\"a\":\"\x00\xff\"}")
	_, err := recordOne(ctx, db, ev, update, []string{"slack-1"})
	must(err)
	failed := event("klingai:failed", tasks.TypeFailed)
	_, err = recordOne(ctx, db, failed, &tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: failed.ID, OccurredAt: t0, Status: tasks.StatusCancelled, Error: "é"}, nil)
	must(err)
	must(db.MarkProcessed(ctx, []string{ev.ID}, received))
	unsigned := event("klingai:unsigned", "callback")
	_, err = recordOne(ctx, db, unsigned, &tasks.JobUpdate{Job: tasks.KlingJob("vid_2"), EventID: unsigned.ID, Unproven: true, API: tasks.APILegacy, Status: tasks.StatusCompleted}, nil)
	must(err)
	_, err = db.Track(ctx, fal, tasks.Metadata{Prompt: text("é"), Tags: []string{"blue"}, Custom: json.RawMessage(`{"a":1}`)}, received)
	must(err)
	_, err = db.RecordAttempts(ctx, []store.SendAttempt{{NotificationID: "n", Destination: "shop", At: received, Duration: time.Second, Status: 500, Answer: "é", Error: "500"}})
	must(err)
	must(db.RecordAnswer(ctx, fal, store.LookupAnswer{At: received, Took: time.Second, Outcome: "unclear", Error: "é"}))
	must(db.RecordAttempt(ctx, store.TaskAttempt{TaskID: "task-0", Number: 1, At: received, Error: "busy"}))
	must(db.Bury(ctx, dead("task-1", "vid_1", "gone", 1), dead("task-2", "vid_1", "gone", 2)))
	// A deleted job leaves a tombstone and an object to delete.
	ev.ID, update.EventID, ev.Job, update.Job = "klingai:old", "klingai:old", tasks.KlingJob("vid_3"), tasks.KlingJob("vid_3")
	owed, err := recordOne(ctx, db, ev, update, nil)
	must(err)
	for _, file := range owed.Media {
		file.Object = "vid_3/" + file.Name
		_, err := db.StoreMedia(ctx, file, received, func() error { return nil })
		must(err)
	}
	must(db.MarkProcessed(ctx, []string{ev.ID}, received))
	_, err = db.Prune(ctx, store.Pruning{Retention: store.Retention{Jobs: time.Hour, Media: time.Hour}, Now: received.Add(2 * time.Hour)})
	must(err)
	must(db.KeepRejection(ctx, tasks.Rejection{ID: "rej_1", ReceivedAt: received, Source: "klingai", Reason: "malformed", Body: []byte("\x00\xff")}))
}

// dump returns every row of a SQLite database as text, by table.
func dump(t *testing.T, path string) map[string][]string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	testenv.NoError(t, err)
	defer db.Close()
	all := map[string][]string{}
	for _, table := range column(t, db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'klinghook_schema_version' AND name NOT LIKE 'job_search_index%'") {
		names := column(t, db, "SELECT name FROM pragma_table_info('"+table+"')")
		quoted := make([]string, len(names))
		for i, name := range names {
			quoted[i] = "quote(" + name + ")"
		}
		all[table] = column(t, db, fmt.Sprintf("SELECT %s FROM %s ORDER BY 1", strings.Join(quoted, " || ', ' || "), table))
	}
	return all
}

func column(t *testing.T, db *sql.DB, query string) (values []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	testenv.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var value string
		testenv.NoError(t, rows.Scan(&value))
		values = append(values, value)
	}
	testenv.NoError(t, rows.Err())
	return values
}

func TestCopyToPostgresAndBackKeepsEveryRow(t *testing.T) {
	first, last := filepath.Join(t.TempDir(), "first.db"), filepath.Join(t.TempDir(), "last.db")
	source, between, target := migrated(t, "sqlite:"+first), migrated(t, testenv.Postgres(t)), migrated(t, "sqlite:"+last)
	fill(t, source)
	for _, step := range []struct{ from, to *store.Store }{{source, between}, {between, target}} {
		var steps, done, total int64
		n, err := step.to.Copy(t.Context(), step.from, func(d, of int64) { steps, done, total = steps+1, d, of })
		if err != nil || n == 0 {
			t.Fatalf("copied %d rows, %v", n, err)
		}
		if steps != n || done != n || total != n {
			t.Errorf("copied %d rows with %d calls of progress, the last %d of %d", n, steps, done, total)
		}
	}
	want := dump(t, first)
	for _, table := range slices.Sorted(maps.Keys(want)) {
		if len(want[table]) == 0 {
			t.Errorf("%s is empty: extend fill", table)
		}
	}
	if diff := cmp.Diff(want, dump(t, last)); diff != "" {
		t.Errorf("copied to PostgreSQL and back (-want +got):\n%s", diff)
	}
	// New rows get new ids.
	if err := between.Bury(t.Context(), dead("task-3", "vid_1", "gone", 3)); err != nil {
		t.Error(err)
	}
}

func TestFailedCopyLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		source := migrated(t, "sqlite:"+filepath.Join(t.TempDir(), "k.db"))
		fill(t, source)
		testenv.NoError(t, db.KeepRejection(t.Context(), tasks.Rejection{ID: "rej_9", ReceivedAt: received, Source: "klingai", Reason: "malformed"}))
		// The last table but one has a row, so all tables before it are copied first.
		if _, err := db.Copy(t.Context(), source, nil); !errors.Is(err, store.ErrNotEmpty) {
			t.Errorf("error %v, want %v", err, store.ErrNotEmpty)
		}
		if events, err := db.Events(t.Context(), store.EventFilter{}); err != nil || len(events) != 0 {
			t.Errorf("%d events are left, %v", len(events), err)
		}
		empty, err := store.Create(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "k.db"))
		testenv.NoError(t, err)
		defer empty.Close()
		if _, err := db.Copy(t.Context(), empty, nil); !errors.Is(err, store.ErrSchema) {
			t.Errorf("from a database without a schema: %v, want %v", err, store.ErrSchema)
		}
	})
}
