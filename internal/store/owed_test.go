package store_test

import (
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// owedEvents returns the ids of all owed events, read in batches.
func owedEvents(t *testing.T, db *store.Store, limit int) []string {
	t.Helper()
	return all(t, limit, db.OwedEvents(t.Context(), limit), func(ev store.OwedEvent) string { return ev.ID })
}

// all returns the names of all rows that come in batches.
func all[T any](t *testing.T, limit int, batches iter.Seq2[[]T, error], name func(T) string) (names []string) {
	t.Helper()
	for batch, err := range batches {
		if err != nil || len(batch) > limit {
			t.Fatalf("batch of %d, %v; want at most %d", len(batch), err, limit)
		}
		for _, row := range batch {
			names = append(names, name(row))
		}
	}
	return names
}

func TestOwedWorkComesInBatchesOldestFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		var events, media, notifications []string
		for n := range 7 {
			ev, update := completed()
			ev.ID, ev.Job = fmt.Sprintf("klingai:%d", 9-n), tasks.KlingJob(fmt.Sprintf("vid_%d", n))
			ev.ReceivedAt = received.Add(time.Duration(n/3) * time.Minute) // some at the same time
			update.EventID, update.Job, update.OccurredAt = ev.ID, ev.Job, ev.ReceivedAt
			owed, err := recordOne(ctx, db, ev, update, []string{"slack-1"})
			testenv.NoError(t, err)
			events, notifications = append(events, ev.ID), append(notifications, owed.Notifications[0].ID)
			for _, m := range owed.Media {
				media = append(media, m.Job.String()+"/"+m.Name)
			}
		}
		slices.Sort(events[:3])
		slices.Sort(events[3:6])
		slices.Sort(notifications[:3])
		slices.Sort(notifications[3:6])
		for _, limit := range []int{1, 2, 3, 7, 100} {
			if diff := cmp.Diff(events, owedEvents(t, db, limit)); diff != "" {
				t.Errorf("events in batches of %d (-want +got):\n%s", limit, diff)
			}
			gotMedia := all(t, limit, db.OwedMedia(ctx, limit), func(m store.Media) string { return m.Job.String() + "/" + m.Name })
			if diff := cmp.Diff(media, gotMedia); diff != "" {
				t.Errorf("media in batches of %d (-want +got):\n%s", limit, diff)
			}
			gotNotifications := all(t, limit, db.OwedNotifications(ctx, received, limit), func(n store.Notification) string { return n.ID })
			if diff := cmp.Diff(notifications, gotNotifications); diff != "" {
				t.Errorf("notifications in batches of %d (-want +got):\n%s", limit, diff)
			}
		}
	})
}

func TestMediaExpiresInTheLastTenthOfItsLife(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed() // at five minutes past t0
		_, err := recordOne(t.Context(), db, ev, update, nil)
		testenv.NoError(t, err)
		for after, want := range map[time.Duration]int{54 * time.Minute: 0, 54*time.Minute + time.Second: 2} {
			now := t0.Add(5*time.Minute + after)
			list, err := db.ExpiringMedia(t.Context(), time.Hour, now, 0)
			if err != nil || len(list) != want {
				t.Errorf("%s after the link was given: %+v, %v; want %d files", after, list, err, want)
			}
			if n, err := db.CountExpiringMedia(t.Context(), time.Hour, now); err != nil || n != want {
				t.Errorf("%s after the link was given: count is %d, %v; want %d", after, n, err, want)
			}
			if want > 0 && (list[0].Name != "thumbnail" || !list[0].LinkedAt.Equal(update.OccurredAt)) {
				t.Errorf("first is %s of %v, want the thumbnail of %v", list[0].Name, list[0].LinkedAt, update.OccurredAt)
			}
		}
	})
}
