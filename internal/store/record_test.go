package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// lives is what is said of each job of a test that has many.
var lives = []occurrence{
	{id: "a", minute: 0, status: "created", prompt: "a cat", model: "v1"},
	{id: "b", minute: 1, status: "processing", progress: 25},
	{id: "c", minute: 2, status: "failed", reason: "busy"},
	{id: "d", minute: 3, status: "processing", progress: 75, prompt: "a cat, slowly"},
	{id: "e", minute: 4, status: "completed", video: "v.mp4?sig=1"},
	{id: "f", minute: 5, status: "completed", video: "v.mp4?sig=2"},
}

// TestConcurrentBatches has several record the same events of the same jobs at once,
// each in another order and in other batches.
func TestConcurrentBatches(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		deliverTogether(t, db, "alone", lives)
		want := read(t, db, "alone")
		for round := range 10 {
			var jobs []string
			for i := range 6 {
				jobs = append(jobs, fmt.Sprintf("round-%d-job-%d", round, i))
			}
			var wg sync.WaitGroup
			for by := range 4 {
				wg.Go(func() { recordShuffled(t, db, jobs, rand.New(rand.NewPCG(uint64(round), uint64(by)))) })
			}
			wg.Wait()
			for _, job := range jobs {
				workTwice(t, db, job)
				if diff := cmp.Diff(want, read(t, db, job), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s ends otherwise than when it is alone (-want +got):\n%s", job, diff)
				}
			}
		}
	})
}

// recordShuffled records and marks all events of the jobs, in an order and in batches
// that are drawn.
func recordShuffled(t *testing.T, db *store.Store, jobs []string, r *rand.Rand) {
	var list []store.Recording
	for _, job := range jobs {
		for _, o := range lives {
			ev, up := o.record(job)
			list = append(list, store.Recording{Event: ev, Update: up, Destinations: destinations})
		}
	}
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for len(list) > 0 {
		n := min(1+r.IntN(12), len(list))
		var ids []string
		for _, recording := range list[:n] {
			ids = append(ids, recording.Event.ID)
		}
		if _, err := db.RecordAll(t.Context(), list[:n], received); err != nil {
			t.Error(err)
		}
		if err := db.MarkAllProcessed(t.Context(), ids, received); err != nil {
			t.Error(err)
		}
		list = list[n:]
	}
}

// TestRecordAll holds what is said of each event of a batch.
func TestRecordAll(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		of := func(id string, update *tasks.JobUpdate, destinations ...string) store.Recording {
			ev := event(id, tasks.TypeProcessing)
			ev.ReceivedAt = received.Add(time.Minute)
			if update != nil {
				update.JobID, update.EventID, update.OccurredAt = "vid_1", id, t0
			}
			return store.Recording{Event: ev, Update: update, Destinations: destinations}
		}
		file := []tasks.MediaLink{{Name: "video", URL: "https://cdn.example/v.mp4"}}
		list := []store.Recording{
			of("z", &tasks.JobUpdate{Status: tasks.StatusProcessing}),
			of("linked", &tasks.JobUpdate{Status: tasks.StatusCompleted, Media: file}),
			of("told", &tasks.JobUpdate{Status: tasks.StatusProcessing}, "slack-1", "slack-2"),
			of("unproven", &tasks.JobUpdate{Unproven: true}),
			of("a", nil),
		}
		tests := []struct {
			name          string
			at            time.Time
			media         []int // of each
			notifications []int
			settled       []bool
			processed     []bool
		}{
			{"at no time", time.Time{}, []int{0, 1, 0, 0, 0}, []int{0, 0, 2, 0, 0}, make([]bool, 5), make([]bool, 5)},
			{"again", received, []int{0, 1, 0, 0, 0}, []int{0, 0, 2, 0, 0}, make([]bool, 5), make([]bool, 5)},
			{"others", received, []int{0, 1, 0, 0, 0}, []int{0, 0, 2, 0, 0}, []bool{true, false, false, false, true}, make([]bool, 5)},
			{"the others again", received.Add(time.Hour), []int{0, 1, 0, 0, 0}, []int{0, 0, 2, 0, 0}, make([]bool, 5), []bool{true, false, false, false, true}},
		}
		for i, tt := range tests {
			if i == 2 {
				for k := range list {
					list[k].Event.ID += "-2"
				}
			}
			owed, err := db.RecordAll(t.Context(), list, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			for k, o := range owed {
				id := list[k].Event.ID
				if len(o.Media) != tt.media[k] || len(o.Notifications) != tt.notifications[k] || o.Settled != tt.settled[k] || o.Processed != tt.processed[k] || o.Buried {
					t.Errorf("%s: %s owes %+v; want %d media, %d notifications, settled %t, processed %t",
						tt.name, id, o, tt.media[k], tt.notifications[k], tt.settled[k], tt.processed[k])
				}
				kept, err := db.Event(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				var want time.Time
				if o.Settled || o.Processed {
					want = received
				}
				if !kept.ProcessedAt.Equal(want) {
					t.Errorf("%s: %s is processed at %v, want %v", tt.name, id, kept.ProcessedAt, want)
				}
			}
		}
	})
}

// TestRecordAllOrNothing holds that a batch is kept whole or not at all.
func TestRecordAllOrNothing(t *testing.T) {
	good, bad := event("good", tasks.TypeCreated), event("twice", tasks.TypeCreated)
	poison := event("poison", "no\x00text") // what PostgreSQL refuses
	tests := []struct {
		name string
		list []tasks.Event
		want string
	}{
		{"an event is there twice", []tasks.Event{bad, good, bad}, "event twice is there twice"},
		{"the database refuses one", []tasks.Event{good, poison}, "insert events"},
	}
	db, err := store.Create(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var list []store.Recording
			for _, ev := range tt.list {
				list = append(list, store.Recording{Event: ev})
			}
			if _, err := db.RecordAll(t.Context(), list, received); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("RecordAll = %v, want that %s", err, tt.want)
			}
			if events, err := db.Events(t.Context(), store.EventFilter{}); err != nil || len(events) != 0 {
				t.Errorf("%d events are kept, %v; want none", len(events), err)
			}
		})
	}
}

// TestRecordWhileAFileIsStored holds that events which are recorded together do not
// wait for a file that is being stored, and that one that is recorded alone does.
func TestRecordWhileAFileIsStored(t *testing.T) {
	url := testenv.Postgres(t) // SQLite has no two transactions at once
	db, err := store.Create(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ev, update := completed()
	if _, err := db.Record(t.Context(), ev, update, nil); err != nil {
		t.Fatal(err)
	}
	ev.ID, update.EventID, update.OccurredAt = "klingai:again", "klingai:again", update.OccurredAt.Add(time.Minute)
	recorded := make(chan error, 1)
	superseded, err := db.StoreMedia(t.Context(), store.Media{JobID: "vid_1", Name: "video", URL: update.Media[0].URL, Object: "o"}, received, func() error {
		_, err := db.RecordAll(t.Context(), []store.Recording{{Event: ev, Update: update}}, received)
		if err == nil || !strings.Contains(err.Error(), "being stored") {
			t.Errorf("RecordAll = %v, want that the file is being stored", err)
		}
		go func() {
			_, err := db.Record(t.Context(), ev, update, nil)
			recorded <- err
		}()
		awaitLocked(t, url)
		return nil
	})
	if err != nil || superseded {
		t.Fatalf("StoreMedia = %t, %v", superseded, err)
	}
	if err := <-recorded; err != nil {
		t.Error(err)
	}
	if m, err := db.Medium(t.Context(), "vid_1", "video"); err != nil || m.State != store.MediaStored {
		t.Errorf("media is %s, %v; want stored", m.State, err)
	}
}

// awaitLocked waits until a transaction waits for another.
func awaitLocked(t *testing.T, databaseURL string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	for n := 0; n == 0; {
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("no transaction waits for another")
		}
	}
}

// TestManyLinks records more links than one statement takes.
func TestManyLinks(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		var list []store.Recording
		for n := range 12 {
			ev, update := completed()
			ev.ID, ev.JobID = fmt.Sprint("event-", n), fmt.Sprint("job-", n)
			update.EventID, update.JobID, update.Media = ev.ID, ev.JobID, nil
			for k := range 100 {
				update.Media = append(update.Media, tasks.MediaLink{Name: fmt.Sprintf("video-%03d", k), URL: fmt.Sprintf("https://cdn.example/%d/%d", n, k)})
			}
			slices.Reverse(update.Media)
			list = append(list, store.Recording{Event: ev, Update: update})
		}
		owed, err := db.RecordAll(t.Context(), list, received)
		if err != nil {
			t.Fatal(err)
		}
		for n, o := range owed {
			media, err := db.MediaOf(t.Context(), list[n].Event.JobID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(media, o.Media); len(media) != 100 || diff != "" {
				t.Errorf("%d files of job %d are kept (-kept +owed):\n%s", len(media), n, diff)
			}
		}
	})
}

func TestKeptEventIsOwedUntilItIsRecorded(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ev, update := completed()
		for range 2 {
			if err := db.KeepEvent(ctx, ev); err != nil {
				t.Fatal(err)
			}
		}
		owed, err := db.UnprocessedEvents(ctx)
		if err != nil || len(owed) != 1 || owed[0].ID != ev.ID {
			t.Fatalf("owed events are %v, %v; want %s", owed, err, ev.ID)
		}
		if _, err := db.Job(ctx, "vid_1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("job before the event is recorded: %v, want ErrNotFound", err)
		}
		answers, err := db.RecordAll(ctx, []store.Recording{{Event: ev, Update: update, Destinations: []string{"slack-1"}}}, received)
		if err != nil {
			t.Fatal(err)
		}
		if got := answers[0]; got.Processed || got.Settled || len(got.Media) != 2 || len(got.Notifications) != 1 {
			t.Errorf("recording returned %+v, want 2 media and 1 notification owed", got)
		}
		if job, err := db.Job(ctx, "vid_1"); err != nil || job.Status != tasks.StatusCompleted {
			t.Errorf("job is %s, %v; want completed", job.Status, err)
		}
		if err := db.MarkProcessed(ctx, ev.ID, received); err != nil {
			t.Fatal(err)
		}
		if err := db.KeepEvent(ctx, ev); err != nil {
			t.Fatal(err)
		}
		if owed, err := db.UnprocessedEvents(ctx); err != nil || len(owed) != 0 {
			t.Errorf("owed events at the end are %v, %v; want none", owed, err)
		}
	})
}
