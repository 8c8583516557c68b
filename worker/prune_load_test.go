package worker_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
)

// filling has the SQL of one kind of database that makes many rows.
type filling struct{ driver, id, time, body string }

// fillOldAndNew makes events of 600 bytes, four for each completed job, half of them older
// than 90 days. One job in a hundred owes an event. Each has two stored files and a sent
// notification.
func fillOldAndNew(t *testing.T, url string, events int, now time.Time) {
	t.Helper()
	with := filling{"sqlite", `lower(hex(randomblob(16)))`, `'%s'`, `randomblob(600)`}
	source := strings.TrimPrefix(url, "sqlite:")
	if strings.HasPrefix(url, "postgres") {
		with, source = filling{"pgx", `md5(random()::text || i)`, `TIMESTAMPTZ '%s'`, `decode(repeat(md5(random()::text), 37), 'hex')`}, url
	}
	db, err := sql.Open(with.driver, source)
	testenv.NoError(t, err)
	defer func() { _ = db.Close() }()
	const parts = 100
	for part := range parts {
		at := fmt.Sprintf(with.time, now.AddDate(0, 0, (part-parts)*180/parts).UTC().Format("2006-01-02T15:04:05.000000Z"))
		n := fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %d) SELECT `, part*events/4/parts, (part+1)*events/4/parts)
		for _, insert := range []string{
			`jobs (platform, id, seq, status, first_received_at, last_received_at, changed_at) ` + n + `'kling', 'vid_' || i, i, 'completed', ` + strings.Join([]string{at, at, at}, ", ") + ` FROM n`,
			`events (id, source, type, platform, job_id, received_at, body, processed_at) ` + n + `'klingai:' || ` + with.id + `, 'klingai', 'video.completed', 'kling', 'vid_' || i, ` + at + `, ` + with.body +
				`, CASE WHEN i % 100 > 0 OR k > 0 THEN ` + at + ` END FROM n CROSS JOIN (SELECT 0 AS k UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS ks`,
			`media (platform, job_id, name, url, links, state, created_at, linked_at, updated_at, stored_at) ` + n + `'kling', 'vid_' || i, name, '', '[]', 'stored', ` +
				strings.Join([]string{at, at, at, at}, ", ") + ` FROM n CROSS JOIN (SELECT 'video' AS name UNION ALL SELECT 'thumbnail') AS names`,
			`notifications (id, platform, job_id, type, destination, state, created_at, updated_at) ` + n + with.id + `, 'kling', 'vid_' || i, 'video.completed', 'shop', 'sent', ` + at + `, ` + at + ` FROM n`,
		} {
			_, err := db.ExecContext(t.Context(), `INSERT INTO `+insert)
			testenv.NoError(t, err)
		}
	}
	_, err = db.ExecContext(t.Context(), `ANALYZE`)
	testenv.NoError(t, err)
}

// recordUntil records one event after another until ctx ends, and returns how long each
// took, the shortest first.
func recordUntil(ctx context.Context, t *testing.T, db *store.Store, prefix string) (took []time.Duration) {
	t.Helper()
	for i := 0; ctx.Err() == nil; i++ {
		event := tasks.Event{ID: "klingai:" + prefix + strconv.Itoa(i), Source: "klingai", Type: tasks.TypeProcessing, Job: tasks.KlingJob(prefix + strconv.Itoa(i/4)), ReceivedAt: time.Now(), Body: make([]byte, 600)}
		start := time.Now()
		_, err := db.Record(t.Context(), []store.Recording{{Event: event, Update: &tasks.JobUpdate{Job: event.Job, EventID: event.ID, Status: tasks.StatusProcessing}}}, start)
		if err != nil {
			t.Error(err)
			return took
		}
		took = append(took, time.Since(start))
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	slices.Sort(took)
	return took
}

// TestPruneOfManyEvents measures how long it takes to delete half of many events, and how
// long it takes meanwhile to record one.
func TestPruneOfManyEvents(t *testing.T) {
	events, err := strconv.Atoi(os.Getenv("PRUNE_EVENTS"))
	if err != nil {
		t.Skip("set PRUNE_EVENTS to a number of events, such as 1000000")
	}
	for name, url := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "k.db"), "postgres": testenv.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureOn(t, miniredis.RunT(t).Addr(), url, time.Second)
			now := time.Now()
			fillOldAndNew(t, url, events, now)
			quiet, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			before := recordUntil(quiet, t, f.store, "before-")

			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			recorded := make(chan []time.Duration)
			go func() { recorded <- recordUntil(ctx, t, f.store, "during-") }()
			pruner := worker.Pruner{Store: f.store, Bucket: f.cfg.Bucket, Retention: store.Retention{Events: 90 * 24 * time.Hour}, Now: func() time.Time { return now }}
			start := time.Now()
			pruned, err := pruner.Prune(ctx)
			took := time.Since(start)
			stop()
			during := <-recorded
			if want := int64(events / 2 * 99 / 100); err != nil || pruned != (store.Pruned{Events: want}) {
				t.Errorf("deleted %+v, %v; want %d events", pruned, err, want)
			}
			t.Logf("deleted %d of %d events in %s", pruned.Events, events, took.Round(time.Millisecond))
			for name, took := range map[string][]time.Duration{"before": before, "during": during} {
				t.Logf("recorded %d events %s: median %s, 99 %% in %s, slowest %s", len(took), name, took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
			}
			if slowest := during[len(during)-1]; slowest > 2*time.Second {
				t.Errorf("an event took %s to record", slowest)
			}
			start = time.Now()
			if again, err := pruner.Prune(t.Context()); err != nil || again != (store.Pruned{}) {
				t.Errorf("a second run deleted %+v, %v", again, err)
			}
			t.Logf("a second run, which finds nothing, takes %s", time.Since(start).Round(time.Millisecond))
		})
	}
}
