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

// onBoth runs a test on an empty, migrated database of each kind.
func onBoth(t *testing.T, f func(t *testing.T, db *store.Store)) {
	t.Helper()
	urls := map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "with space", "k.db") },
		"postgres": func(t *testing.T) string { return testenv.Postgres(t) },
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			db, err := store.Create(t.Context(), url(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			if _, err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			f(t, db)
		})
	}
}

// t0 is when the events of the tests begin, by Kling's clock; received is when
// all of them arrive.
var (
	t0       = time.Date(2025, 1, 15, 10, 25, 0, 0, time.UTC)
	received = time.Date(2025, 1, 15, 12, 0, 0, 123456000, time.UTC)
)

func event(id, kind string) tasks.Event {
	return tasks.Event{
		ID: id, Source: "klingai", Type: kind, JobID: "vid_1", ReceivedAt: received, Secret: "sha256:0badcafe",
		Headers: map[string]string{"X-Kling-Signature": "sha256=00"}, Body: []byte(`{"event":"` + kind + `"}`),
	}
}

// completed is an event with its update, with a video and a thumbnail.
func completed() (tasks.Event, *tasks.JobUpdate) {
	ev := event("klingai:done", tasks.TypeCompleted)
	return ev, &tasks.JobUpdate{
		JobID: "vid_1", EventID: ev.ID, OccurredAt: t0.Add(5 * time.Minute), Status: tasks.StatusCompleted,
		Prompt: "a cat", Model: "kling-v1.5", Duration: 5 * time.Second, CreatedAt: t0, FinishedAt: t0.Add(5 * time.Minute),
		Media: []tasks.MediaLink{{Name: "video", URL: "https://cdn.example/v.mp4?sig=1"}, {Name: "thumbnail", URL: "https://cdn.example/t.jpg"}},
	}
}

func TestRecordKeepsEverything(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		ev.Body = []byte("{\"a\":\"\x00\xff\"}")
		owed, err := db.Record(t.Context(), ev, update, []string{"slack-1", "slack-2"})
		if err != nil {
			t.Fatal(err)
		}
		if len(owed.Media) != 2 || len(owed.Notifications) != 2 || owed.Processed {
			t.Errorf("owed = %d media, %d notifications, processed %t; want 2, 2, false", len(owed.Media), len(owed.Notifications), owed.Processed)
		}
		kept, err := db.Event(t.Context(), ev.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(store.StoredEvent{Event: ev}, kept); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
		job, err := db.Job(t.Context(), "vid_1")
		if err != nil {
			t.Fatal(err)
		}
		all := 100
		want := store.Job{
			ID: "vid_1", Status: tasks.StatusCompleted, Progress: &all, Prompt: "a cat", Model: "kling-v1.5", Duration: 5 * time.Second,
			Source: "klingai", CreatedAt: t0, FinishedAt: t0.Add(5 * time.Minute), FirstReceivedAt: received, LastReceivedAt: received,
		}
		if diff := cmp.Diff(want, job); diff != "" {
			t.Errorf("job (-want +got):\n%s", diff)
		}
	})
}

func TestRecordAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		first, err := db.Record(t.Context(), ev, update, []string{"slack-1"})
		if err != nil {
			t.Fatal(err)
		}
		again, err := db.Record(t.Context(), ev, update, []string{"slack-1"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("owed after a second run (-first +second):\n%s", diff)
		}
		if err := db.MarkProcessed(t.Context(), ev.ID, received.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := db.MarkProcessed(t.Context(), ev.ID, received.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		done, err := db.Record(t.Context(), ev, update, []string{"slack-1"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(store.Owed{Processed: true}, done); diff != "" {
			t.Errorf("owed once processed (-want +got):\n%s", diff)
		}
		kept, err := db.Event(t.Context(), ev.ID)
		if err != nil {
			t.Fatal(err)
		}
		if want := received.Add(time.Second); !kept.ProcessedAt.Equal(want) {
			t.Errorf("processed at %v, want the first time, %v", kept.ProcessedAt, want)
		}
	})
}

func TestConcurrentRecordsOfOneJob(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		const n = 20
		errs := make(chan error, 2*n)
		for i := range n {
			progress := i
			ev := event("klingai:p"+string(rune('a'+i)), tasks.TypeProcessing)
			update := &tasks.JobUpdate{JobID: "vid_1", EventID: ev.ID, OccurredAt: t0.Add(time.Duration(i) * time.Second), Status: tasks.StatusProcessing, Progress: &progress}
			for range 2 {
				go func() {
					_, err := db.Record(t.Context(), ev, update, []string{"x"})
					errs <- err
				}()
			}
		}
		for range 2 * n {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		job, err := db.Job(t.Context(), "vid_1")
		if err != nil {
			t.Fatal(err)
		}
		if job.Progress == nil || *job.Progress != n-1 {
			t.Errorf("progress = %v, want %d: an update was lost", job.Progress, n-1)
		}
		events, err := db.Events(t.Context(), store.EventFilter{JobID: "vid_1"})
		if err != nil {
			t.Fatal(err)
		}
		if len(events) != n {
			t.Errorf("%d events kept, want %d", len(events), n)
		}
		notifications, err := db.NotificationsOf(t.Context(), "vid_1")
		if err != nil {
			t.Fatal(err)
		}
		if len(notifications) != n {
			t.Errorf("%d notifications, want one for each of %d progress events", len(notifications), n)
		}
	})
}

func TestMediaLinks(t *testing.T) {
	const first, renewed, other = "https://cdn.example/v.mp4?sig=1", "https://cdn.example/v.mp4?sig=2", "https://cdn.example/w.mp4?sig=3"
	tests := []struct {
		name string
		// before is what happened to the first link before the second comes.
		before    store.MediaState
		link      string
		at        time.Duration // of the second link, after the first
		wantURL   string
		wantState store.MediaState
	}{
		{"a pending file takes the newer link", store.MediaPending, renewed, time.Minute, renewed, store.MediaPending},
		{"a late older link changes nothing", store.MediaPending, other, -time.Minute, first, store.MediaPending},
		{"a stored file is not fetched again for a new signature", store.MediaStored, renewed, time.Minute, renewed, store.MediaStored},
		{"a stored file is fetched again when it is another", store.MediaStored, other, time.Minute, other, store.MediaPending},
		{"a stored file stays for an older link", store.MediaStored, other, -time.Minute, first, store.MediaStored},
		{"a failed file is owed again with a newer link", store.MediaFailed, renewed, time.Minute, renewed, store.MediaPending},
		{"a failed file is owed again with an older link", store.MediaFailed, other, -time.Minute, other, store.MediaPending},
		{"a failed file stays so when its link is repeated", store.MediaFailed, first, time.Minute, first, store.MediaFailed},
	}
	onBoth(t, func(t *testing.T, db *store.Store) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				job := "vid_" + strings.ReplaceAll(tt.name, " ", "_")
				record := func(id, link string, at time.Time) {
					t.Helper()
					ev := event(job+id, tasks.TypeCompleted)
					update := &tasks.JobUpdate{JobID: job, EventID: ev.ID, OccurredAt: at, Status: tasks.StatusCompleted, Media: []tasks.MediaLink{{Name: "video", URL: link}}}
					if _, err := db.Record(t.Context(), ev, update, nil); err != nil {
						t.Fatal(err)
					}
				}
				record("1", first, t0)
				m := store.Media{JobID: job, Name: "video", URL: first, Object: job + "/video.mp4", Size: 7, SHA256: "ab", ContentType: "video/mp4"}
				switch tt.before {
				case store.MediaStored:
					if superseded, err := db.StoreMedia(t.Context(), m, received, func() error { return nil }); err != nil || superseded {
						t.Fatalf("StoreMedia = %t, %v", superseded, err)
					}
				case store.MediaFailed:
					if _, err := db.MediaFailed(t.Context(), m, "404", received); err != nil {
						t.Fatal(err)
					}
				}
				record("2", tt.link, t0.Add(tt.at))
				got, err := db.Medium(t.Context(), job, "video")
				if err != nil {
					t.Fatal(err)
				}
				if got.URL != tt.wantURL || got.State != tt.wantState {
					t.Errorf("link %s, %s; want %s, %s", got.URL, got.State, tt.wantURL, tt.wantState)
				}
			})
		}
	})
}

func TestMediaStoredFromALinkThatWasReplaced(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		if _, err := db.Record(t.Context(), ev, update, nil); err != nil {
			t.Fatal(err)
		}
		publish := func() error {
			t.Error("published from a link that does not count any more")
			return nil
		}
		superseded, err := db.StoreMedia(t.Context(), store.Media{JobID: "vid_1", Name: "video", URL: "https://cdn.example/old.mp4", Object: "o"}, received, publish)
		if err != nil || !superseded {
			t.Errorf("StoreMedia = %t, %v; want superseded", superseded, err)
		}
		m, err := db.Medium(t.Context(), "vid_1", "video")
		if err != nil || m.State != store.MediaPending {
			t.Errorf("state %s, %v; want pending", m.State, err)
		}
	})
}

func TestPublishFails(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		if _, err := db.Record(t.Context(), ev, update, nil); err != nil {
			t.Fatal(err)
		}
		full := errors.New("disk full")
		m := store.Media{JobID: "vid_1", Name: "video", URL: update.Media[0].URL, Object: "o"}
		if _, err := db.StoreMedia(t.Context(), m, received, func() error { return full }); !errors.Is(err, full) {
			t.Errorf("StoreMedia = %v, want %v", err, full)
		}
		if got, err := db.Medium(t.Context(), "vid_1", "video"); err != nil || got.State != store.MediaPending || got.Object != "" {
			t.Errorf("media is %s with object %q, %v; want pending and none", got.State, got.Object, err)
		}
	})
}

func TestNotificationEndsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		owed, err := db.Record(t.Context(), ev, update, []string{"slack-1"})
		if err != nil {
			t.Fatal(err)
		}
		id := owed.Notifications[0].ID
		if err := db.NotificationSent(t.Context(), id, received); err != nil {
			t.Fatal(err)
		}
		if err := db.NotificationFailed(t.Context(), id, "late", received.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		n, err := db.Notification(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if n.State != store.NotificationSent || n.Error != "" || !n.SentAt.Equal(received) {
			t.Errorf("notification = %+v, want sent at %v", n, received)
		}
	})
}

func TestListsAndOwed(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ev, update := completed()
		if _, err := db.Record(ctx, ev, update, []string{"slack-1"}); err != nil {
			t.Fatal(err)
		}
		unknown := event("klingai:odd", "video.sparkled")
		unknown.JobID, unknown.ReceivedAt = "", received.Add(time.Minute)
		if _, err := db.Record(ctx, unknown, nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.MarkProcessed(ctx, unknown.ID, received); err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			name   string
			filter store.EventFilter
			want   []string
		}{
			{"all, newest first", store.EventFilter{}, []string{"klingai:odd", "klingai:done"}},
			{"limit", store.EventFilter{Limit: 1}, []string{"klingai:odd"}},
			{"by job", store.EventFilter{JobID: "vid_1"}, []string{"klingai:done"}},
			{"by type", store.EventFilter{Type: "video.sparkled"}, []string{"klingai:odd"}},
			{"by prefix", store.EventFilter{IDPrefix: "klingai:d"}, []string{"klingai:done"}},
			{"prefix is no pattern", store.EventFilter{IDPrefix: "%"}, nil},
			{"unprocessed", store.EventFilter{Unprocessed: true}, []string{"klingai:done"}},
		}
		for _, tt := range tests {
			events, err := db.Events(ctx, tt.filter)
			if err != nil {
				t.Fatal(err)
			}
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
		events, err1 := db.UnprocessedEvents(ctx)
		media, err2 := db.PendingMedia(ctx)
		notifications, err3 := db.PendingNotifications(ctx)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if len(events) != 1 || len(media) != 2 || len(notifications) != 1 {
			t.Errorf("owed: %d events, %d media, %d notifications; want 1, 2, 1", len(events), len(media), len(notifications))
		}
	})
}

func TestNotFound(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ask := map[string]func(context.Context) error{
			"job":          func(ctx context.Context) error { _, err := db.Job(ctx, "none"); return err },
			"event":        func(ctx context.Context) error { _, err := db.Event(ctx, "none"); return err },
			"medium":       func(ctx context.Context) error { _, err := db.Medium(ctx, "none", "video"); return err },
			"notification": func(ctx context.Context) error { _, err := db.Notification(ctx, "none"); return err },
		}
		for name, f := range ask {
			if err := f(t.Context()); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", name, err)
			}
		}
	})
}

func TestSchema(t *testing.T) {
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
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if err := db.CheckSchema(t.Context()); !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "klinghook migrate") {
			t.Errorf("CheckSchema = %v, want ErrSchema that names the command", err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	tests := []struct{ name, url, want string }{
		{"no scheme", "k.db", `neither "sqlite:" nor "postgres://"`},
		{"no path", "sqlite:", "write sqlite:<path>"},
		{"no file", "sqlite:" + filepath.Join(t.TempDir(), "k.db"), "klinghook migrate"},
		{"nobody listens", "postgres://u:hunter2@127.0.0.1:1/db?connect_timeout=2", "reach database"},
		{"bad port", "postgres://u:hunter2@127.0.0.1:port/db", "database"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := store.Open(t.Context(), tt.url)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Open = %v, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func TestKeptEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		if _, err := db.Record(t.Context(), event("klingai:recorded", tasks.TypeCreated), nil, nil); err != nil {
			t.Fatal(err)
		}
		for kind, id := range map[tasks.Kind]string{tasks.KindEventRecord: "klingai:buried", tasks.KindNotifySend: "klingai:told"} {
			letter := dead(string(kind)+":"+id, "vid_1", "busy", 0)
			letter.Task.Kind, letter.EventID = kind, id
			if err := db.Bury(t.Context(), letter); err != nil {
				t.Fatal(err)
			}
		}
		got, err := db.KeptEvents(t.Context(), []string{"klingai:recorded", "klingai:buried", "klingai:told", "klingai:new"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]bool{"klingai:recorded": true, "klingai:buried": true}, got); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
		if got, err := db.KeptEvents(t.Context(), nil); err != nil || len(got) != 0 {
			t.Errorf("of no events %v, %v are kept", got, err)
		}
	})
}
