package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// recordOne records one event and leaves it unprocessed.
func recordOne(ctx context.Context, db *store.Store, ev tasks.Event, update *tasks.JobUpdate, destinations []string) (store.Owed, error) {
	owed, err := db.Record(ctx, []store.Recording{{Event: ev, Update: update, Destinations: destinations}}, time.Time{})
	if err != nil {
		return store.Owed{}, err
	}
	return owed[0], nil
}

// migrate creates the schema in the database at a URL.
func migrate(url string) error {
	db, err := store.Create(context.Background(), url)
	if err != nil {
		return err
	}
	_, err = db.Migrate(context.Background())
	return errors.Join(err, db.Close())
}

// migrated opens the database at a URL with its schema.
func migrated(t testing.TB, url string) *store.Store {
	t.Helper()
	testenv.NoError(t, migrate(url))
	return opened(t, url)
}

// opened opens a database that has its schema.
func opened(t testing.TB, url string) *store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), url)
	testenv.NoError(t, err)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// onBoth runs a test on an empty, migrated database of each kind, both at once.
func onBoth(t *testing.T, f func(t *testing.T, db *store.Store)) {
	t.Helper()
	databases := map[string]func(t *testing.T) *store.Store{
		"sqlite": func(t *testing.T) *store.Store {
			return migrated(t, "sqlite:"+filepath.Join(t.TempDir(), "with space", "k.db"))
		},
		"postgres": func(t *testing.T) *store.Store { return opened(t, testenv.FilledPostgres(t, migrate)) },
	}
	for name, database := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, database(t))
		})
	}
}

// keepEvent keeps an event, twice.
func keepEvent(t *testing.T, db *store.Store, ev tasks.Event) {
	t.Helper()
	for _, want := range []bool{true, false} {
		if isNew, err := db.KeepEvent(t.Context(), ev); err != nil || isNew != want {
			t.Errorf("KeepEvent = %t, %v; want %t", isNew, err, want)
		}
	}
}

// t0 is when the events of the tests start, by Kling's clock; received is when all of
// them arrive.
var (
	t0       = time.Date(2025, 1, 15, 10, 25, 0, 0, time.UTC)
	received = time.Date(2025, 1, 15, 12, 0, 0, 123456000, time.UTC)
)

func event(id, kind string) tasks.Event {
	return tasks.Event{
		ID: id, Source: "klingai", Type: kind, Job: tasks.KlingJob("vid_1"), ReceivedAt: received, Secret: "sha256:0badcafe",
		Headers: map[string]string{"X-Kling-Signature": "sha256=00"}, Body: []byte(`{"event":"` + kind + `"}`),
	}
}

// completed is an event with its update, with a video and a thumbnail.
func completed() (tasks.Event, *tasks.JobUpdate) {
	ev := event("klingai:done", tasks.TypeCompleted)
	return ev, &tasks.JobUpdate{
		Job: tasks.KlingJob("vid_1"), EventID: ev.ID, OccurredAt: t0.Add(5 * time.Minute), Status: tasks.StatusCompleted,
		Prompt: "a cat", Model: "kling-v1.5", Duration: 5 * time.Second, CreatedAt: t0, FinishedAt: t0.Add(5 * time.Minute),
		Media: []tasks.MediaLink{{Name: "video", URL: "https://cdn.example/v.mp4?sig=1"}, {Name: "thumbnail", URL: "https://cdn.example/t.jpg"}},
	}
}

func TestRecordKeepsEventAndJob(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		ev.Body = []byte("{\"a\":\"\x00\xff\"}")
		owed, err := recordOne(t.Context(), db, ev, update, []string{"slack-1", "slack-2"})
		testenv.NoError(t, err)
		if len(owed.Media) != 2 || len(owed.Notifications) != 2 || owed.Processed {
			t.Errorf("owed = %d media, %d notifications, processed %t; want 2, 2, false", len(owed.Media), len(owed.Notifications), owed.Processed)
		}
		kept, err := db.Event(t.Context(), ev.ID)
		testenv.NoError(t, err)
		if diff := cmp.Diff(store.StoredEvent{Event: ev}, kept); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
		job, err := db.Job(t.Context(), tasks.KlingJob("vid_1"))
		testenv.NoError(t, err)
		all := 100
		want := store.Job{
			Key: tasks.KlingJob("vid_1"), Status: tasks.StatusCompleted, Progress: &all, Prompt: "a cat", Model: "kling-v1.5", Duration: 5 * time.Second,
			Source: "klingai", CreatedAt: t0, FinishedAt: t0.Add(5 * time.Minute), FirstReceivedAt: received, LastReceivedAt: received,
		}
		if diff := cmp.Diff(want, job); diff != "" {
			t.Errorf("job (-want +got):\n%s", diff)
		}
	})
}

// sent records that a notification was sent at received.
func sent(ctx context.Context, db *store.Store, id string) error {
	_, err := db.RecordAttempts(ctx, []store.SendAttempt{{NotificationID: id, Destination: "slack-1", At: received}})
	return err
}

func TestSentNotificationStaysSent(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		owed, err := recordOne(t.Context(), db, ev, update, []string{"slack-1"})
		testenv.NoError(t, err)
		id := owed.Notifications[0].ID
		testenv.NoError(t, sent(t.Context(), db, id))
		testenv.NoError(t, db.NotificationFailed(t.Context(), id, "late", received.Add(time.Hour)))
		n, err := db.Notification(t.Context(), id)
		testenv.NoError(t, err)
		if n.State != store.NotificationSent || n.Error != "" || !n.SentAt.Equal(received) {
			t.Errorf("notification = %+v, want sent at %v", n, received)
		}
	})
}

func TestEventAndJobFilters(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ev, update := completed()
		_, err := recordOne(ctx, db, ev, update, []string{"slack-1"})
		testenv.NoError(t, err)
		unknown := event("klingai:odd", "video.sparkled")
		unknown.Job.ID, unknown.ReceivedAt = "", received.Add(time.Minute)
		_, err = recordOne(ctx, db, unknown, nil, nil)
		testenv.NoError(t, err)
		testenv.NoError(t, db.MarkProcessed(ctx, []string{unknown.ID}, received))
		tests := []struct {
			name   string
			filter store.EventFilter
			want   []string
		}{
			{"all, newest first", store.EventFilter{}, []string{"klingai:odd", "klingai:done"}},
			{"limit", store.EventFilter{Limit: 1}, []string{"klingai:odd"}},
			{"by job", store.EventFilter{Job: tasks.KlingJob("vid_1")}, []string{"klingai:done"}},
			{"by type", store.EventFilter{Type: "video.sparkled"}, []string{"klingai:odd"}},
			{"by prefix", store.EventFilter{IDPrefix: "klingai:d"}, []string{"klingai:done"}},
			{"prefix with wildcards", store.EventFilter{IDPrefix: "%"}, nil},
			{"unprocessed", store.EventFilter{Unprocessed: true}, []string{"klingai:done"}},
		}
		for _, tt := range tests {
			events, err := db.Events(ctx, tt.filter)
			testenv.NoError(t, err)
			var got []string
			for _, ev := range events {
				got = append(got, ev.ID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
		for status, want := range map[tasks.Status]int{"": 1, tasks.StatusCompleted: 1, tasks.StatusFailed: 0} {
			jobs, err := db.Jobs(ctx, store.JobFilter{Status: status})
			if err != nil || len(jobs) != want {
				t.Errorf("%d jobs of status %q, %v; want %d", len(jobs), status, err, want)
			}
		}
	})
}

func TestMissingRowIsErrNotFound(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ask := map[string]func(context.Context) error{
			"job":          func(ctx context.Context) error { _, err := db.Job(ctx, tasks.KlingJob("none")); return err },
			"event":        func(ctx context.Context) error { _, err := db.Event(ctx, "none"); return err },
			"medium":       func(ctx context.Context) error { _, err := db.Medium(ctx, tasks.KlingJob("none"), "video"); return err },
			"notification": func(ctx context.Context) error { _, err := db.Notification(ctx, "none"); return err },
		}
		for name, f := range ask {
			if err := f(t.Context()); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", name, err)
			}
		}
	})
}

func TestMigrateAndCheckSchema(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		if err := db.CheckSchema(t.Context()); err != nil {
			t.Errorf("migrated database: %v", err)
		}
		applied, err := db.Migrate(t.Context())
		if err != nil || len(applied) != 0 {
			t.Errorf("second migration applied %v, %v; want nothing", applied, err)
		}
	})
	t.Run("empty database", func(t *testing.T) {
		db, err := store.Create(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "k.db"))
		testenv.NoError(t, err)
		defer func() { _ = db.Close() }()
		if err := db.CheckSchema(t.Context()); !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "klinghook migrate") {
			t.Errorf("CheckSchema = %v, want ErrSchema that names the command", err)
		}
	})
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	tests := []struct{ name, url, want string }{
		{"no scheme", "k.db", `neither "sqlite:" nor "postgres://"`},
		{"no path", "sqlite:", "write sqlite:<path>"},
		{"no file", "sqlite:" + filepath.Join(t.TempDir(), "k.db"), "klinghook migrate"},
		{"nothing listens", "postgres://u:hunter2@127.0.0.1:1/db?connect_timeout=2", "reach database"},
		{"bad port", "postgres://u:hunter2@127.0.0.1:port/db", "database"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := store.Open(t.Context(), tt.url)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Open = %v, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error contains the password: %v", err)
			}
		})
	}
}
