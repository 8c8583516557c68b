package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestNewLinkDecidesWhetherAFileIsOwed(t *testing.T) {
	const first, renewed, other = "https://cdn.example/v.mp4?sig=1", "https://cdn.example/v.mp4?sig=2", "https://cdn.example/w.mp4?sig=3"
	tests := []struct {
		name string
		// before is the file's state before the second link arrives.
		before    store.MediaState
		link      string
		at        time.Duration // of the second link, after the first
		wantURL   string
		wantState store.MediaState
	}{
		{"a pending file takes the newer link", store.MediaPending, renewed, time.Minute, renewed, store.MediaPending},
		{"a late older link changes nothing", store.MediaPending, other, -time.Minute, first, store.MediaPending},
		{"a stored file is not fetched again for a new signature", store.MediaStored, renewed, time.Minute, renewed, store.MediaStored},
		{"a stored file is fetched again for another resource", store.MediaStored, other, time.Minute, other, store.MediaPending},
		{"a stored file stays for an older link", store.MediaStored, other, -time.Minute, first, store.MediaStored},
		{"a failed file is owed again with a newer link", store.MediaFailed, renewed, time.Minute, renewed, store.MediaPending},
		{"a failed file is owed again with an older link", store.MediaFailed, other, -time.Minute, other, store.MediaPending},
		{"a failed file stays failed when its link is repeated", store.MediaFailed, first, time.Minute, first, store.MediaFailed},
	}
	onBoth(t, func(t *testing.T, db *store.Store) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				job := "vid_" + strings.ReplaceAll(tt.name, " ", "_")
				record := func(id, link string, at time.Time) {
					t.Helper()
					ev := event(job+id, tasks.TypeCompleted)
					update := &tasks.JobUpdate{Job: tasks.KlingJob(job), EventID: ev.ID, OccurredAt: at, Status: tasks.StatusCompleted, Media: []tasks.MediaLink{{Name: "video", URL: link}}}
					_, err := recordOne(t.Context(), db, ev, update, nil)
					testenv.NoError(t, err)
				}
				record("1", first, t0)
				m := store.Media{Job: tasks.KlingJob(job), Name: "video", URL: first, Object: job + "/video.mp4", Size: 7, SHA256: "ab", ContentType: "video/mp4"}
				switch tt.before {
				case store.MediaStored:
					if superseded, err := db.StoreMedia(t.Context(), m, received, func() error { return nil }); err != nil || superseded {
						t.Fatalf("StoreMedia = %t, %v", superseded, err)
					}
				case store.MediaFailed:
					_, err := db.MediaFailed(t.Context(), m, "404", received)
					testenv.NoError(t, err)
				}
				record("2", tt.link, t0.Add(tt.at))
				got, err := db.Medium(t.Context(), tasks.KlingJob(job), "video")
				testenv.NoError(t, err)
				if got.URL != tt.wantURL || got.State != tt.wantState {
					t.Errorf("link %s, %s; want %s, %s", got.URL, got.State, tt.wantURL, tt.wantState)
				}
			})
		}
	})
}

func TestFileThatIsNotPublishedStaysOwed(t *testing.T) {
	full := errors.New("disk full")
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		_, err := recordOne(t.Context(), db, ev, update, nil)
		testenv.NoError(t, err)
		for link, want := range map[string]error{update.Media[0].URL: full, "https://cdn.example/old.mp4": nil} {
			published := false
			superseded, err := db.StoreMedia(t.Context(), store.Media{Job: tasks.KlingJob("vid_1"), Name: "video", URL: link, Object: "o"}, received, func() error {
				published = true
				return full
			})
			if !errors.Is(err, want) || superseded != (want == nil) || published == superseded {
				t.Errorf("StoreMedia from %s = %t, %v; published %t", link, superseded, err, published)
			}
			if m, err := db.Medium(t.Context(), tasks.KlingJob("vid_1"), "video"); err != nil || m.State != store.MediaPending || m.Object != "" {
				t.Errorf("media is %s with object %q, %v; want pending and none", m.State, m.Object, err)
			}
		}
	})
}

// newer records a completed event with a newer link that names another video.
func newer(ctx context.Context, t *testing.T, db *store.Store, link string) store.Media {
	t.Helper()
	ev, update := completed()
	ev.ID, update.EventID = "klingai:newer", "klingai:newer"
	update.OccurredAt = update.OccurredAt.Add(time.Minute)
	update.Media = []tasks.MediaLink{{Name: "video", URL: link}}
	if _, err := recordOne(ctx, db, ev, update, nil); err != nil {
		t.Error(err)
	}
	return store.Media{Job: tasks.KlingJob("vid_1"), Name: "video", URL: link, Object: "o", SHA256: "newer"}
}

func TestSlowPublishBlocksNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		_, err := recordOne(t.Context(), db, ev, update, nil)
		testenv.NoError(t, err)
		m := store.Media{Job: tasks.KlingJob("vid_1"), Name: "video", URL: update.Media[0].URL, Object: "o"}
		superseded, err := db.StoreMedia(t.Context(), m, received, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := db.Ping(ctx); err != nil {
				t.Error(err)
			}
			newer(ctx, t, db, "https://cdn.example/newer.mp4")
			return ctx.Err()
		})
		if err != nil || superseded {
			t.Errorf("StoreMedia = %t, %v; want it stored", superseded, err)
		}
		got, err := db.Medium(t.Context(), tasks.KlingJob("vid_1"), "video")
		if err != nil || got.State != store.MediaPending || got.URL != "https://cdn.example/newer.mp4" || got.Object != "o" {
			t.Errorf("media is %+v, %v; want the newer link owed and the object recorded", got, err)
		}
	})
}

func TestDownloadsPublishedAtTheSameTime(t *testing.T) {
	const old = "https://cdn.example/v.mp4?sig=1" // as completed has it
	tests := []struct {
		name, link string
		lastFirst  bool // the download that started last is recorded first
		want       store.MediaState
	}{
		{"of one file", "https://cdn.example/v.mp4?sig=2", true, store.MediaStored},
		{"of two files", "https://cdn.example/newer.mp4", true, store.MediaPending},
		{"of two files, in order", "https://cdn.example/newer.mp4", false, store.MediaPending},
	}
	onBoth(t, func(t *testing.T, db *store.Store) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				ev, update := completed()
				job := "vid " + tt.name
				ev.ID, ev.Job, update.EventID, update.Job = job, tasks.KlingJob(job), job, tasks.KlingJob(job)
				_, err := recordOne(t.Context(), db, ev, update, nil)
				testenv.NoError(t, err)
				publishing, proceed, second := make(chan struct{}), make(chan struct{}), make(chan error, 1)
				_, first := db.StoreMedia(t.Context(), store.Media{Job: tasks.KlingJob(job), Name: "video", URL: old, Object: "o"}, received, func() error {
					ev.ID, update.EventID = job+" 2", job+" 2"
					update.OccurredAt = update.OccurredAt.Add(time.Minute)
					update.Media = []tasks.MediaLink{{Name: "video", URL: tt.link}}
					if _, err := recordOne(t.Context(), db, ev, update, nil); err != nil {
						return err
					}
					go func() {
						_, err := db.StoreMedia(t.Context(), store.Media{Job: tasks.KlingJob(job), Name: "video", URL: tt.link, Object: "o"}, received, func() error {
							close(publishing)
							<-proceed
							return nil
						})
						second <- err
					}()
					<-publishing
					if tt.lastFirst {
						close(proceed)
						second <- <-second
					}
					return nil
				})
				if !tt.lastFirst {
					close(proceed)
				}
				err = errors.Join(first, <-second)
				m, mErr := db.Medium(t.Context(), tasks.KlingJob(job), "video")
				if mErr != nil || m.State != tt.want || (err == nil) != (tt.want == store.MediaStored) {
					t.Errorf("media is %s, %v; errors are %v; want %s", m.State, mErr, err, tt.want)
				}
			})
		}
	})
}

func TestFileIsPublishedAgainAfterAnUnfinishedOne(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		if _, err := recordOne(t.Context(), db, ev, update, nil); err != nil {
			t.Fatal(err)
		}
		bucket, died := "", errors.New("died")
		publish := func(content string, err error) func() error {
			return func() error { bucket = content; return err }
		}
		old := store.Media{Job: tasks.KlingJob("vid_1"), Name: "video", URL: update.Media[0].URL, Object: "o", SHA256: "old"}
		var fresh store.Media
		_, err := db.StoreMedia(t.Context(), old, received, func() error {
			fresh = newer(t.Context(), t, db, "https://cdn.example/newer.mp4")
			if _, err := db.StoreMedia(t.Context(), fresh, received, publish("newer", nil)); err == nil {
				t.Error("the newer file is marked as stored, although the older one may replace it")
			}
			return publish("old", died)()
		})
		if !errors.Is(err, died) {
			t.Fatal(err)
		}
		if m, err := db.Medium(t.Context(), tasks.KlingJob("vid_1"), "video"); err != nil || m.State != store.MediaPending {
			t.Errorf("media is %s, %v; want it owed", m.State, err)
		}
		if _, err := db.StoreMedia(t.Context(), fresh, received, publish("newer", nil)); err != nil || bucket != "newer" {
			t.Errorf("the retry stored %s, %v", bucket, err)
		}
		if m, err := db.Medium(t.Context(), tasks.KlingJob("vid_1"), "video"); err != nil || m.State != store.MediaStored || m.SHA256 != "newer" {
			t.Errorf("media is %+v, %v; want the newer file stored", m, err)
		}
	})
}

func TestRepeatedFileIsOwedUntilStoredOrGivenUp(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ev, update := completed()
		owed, err := recordOne(ctx, db, ev, update, nil)
		testenv.NoError(t, err)
		video := owed.Media[1]
		nothing := func() error { return nil }
		check := func(when string, want store.MediaState, reason string) {
			t.Helper()
			file, err := db.Medium(ctx, video.Job, video.Name)
			if err != nil || file.State != want || file.Error != reason || file.StoredAt.IsZero() {
				t.Errorf("%s: %s (%s), stored at %s, %v; want %s (%s)", when, file.State, file.Error, file.StoredAt, err, want, reason)
			}
		}
		_, err = db.StoreMedia(ctx, video, received, nothing)
		testenv.NoError(t, err)
		for range 2 {
			testenv.NoError(t, db.RepeatMedia(ctx, video.Job, video.Name, received))
			check("repeated", store.MediaPending, "")
		}
		if superseded, err := db.StoreMedia(ctx, video, received, nothing); err != nil || superseded {
			t.Errorf("StoreMedia of a repeated file = %t, %v", superseded, err)
		}
		check("stored again", store.MediaStored, "")
		testenv.NoError(t, db.RepeatMedia(ctx, video.Job, video.Name, received))
		_, err = db.MediaFailed(ctx, video, "404", received)
		testenv.NoError(t, err)
		check("given up", store.MediaStored, "404")
		testenv.NoError(t, db.ReopenMedia(ctx, video.Job, video.Name, received))
		check("replayed", store.MediaPending, "")
	})
}
