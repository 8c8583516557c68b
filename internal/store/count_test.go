package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestCounts(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		want := store.Counts{
			Jobs: map[tasks.Status]int{
				tasks.StatusCreated: 0, tasks.StatusProcessing: 0, tasks.StatusCompleted: 0,
				tasks.StatusFailed: 0, tasks.StatusCancelled: 0, tasks.StatusLost: 0, tasks.StatusTest: 0,
			},
			DeadLetters: map[tasks.Kind]int{
				tasks.KindEventRecord: 0, tasks.KindMediaDownload: 0, tasks.KindMediaFind: 0, tasks.KindNotifySend: 0, tasks.KindRejectionKeep: 0,
			},
		}
		check := func(when string) {
			t.Helper()
			got, err := db.Counts(ctx)
			testenv.NoError(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		check("in an empty database")

		ev, update := completed()
		_, err := recordOne(ctx, db, ev, update, []string{"a", "b", "c"})
		testenv.NoError(t, err)
		for _, id := range []string{"vid_2", "vid_3"} {
			_, err := db.Track(ctx, tasks.KlingJob(id), tasks.Metadata{}, received)
			testenv.NoError(t, err)
		}
		testenv.NoError(t, db.Bury(ctx, dead("task-1", "vid_1", "gone", 0), dead("task-2", "vid_1", "gone", 0)))
		want.Jobs[tasks.StatusCompleted], want.Jobs[tasks.StatusCreated] = 1, 2
		want.DeadLetters[tasks.KindMediaDownload] = 2
		want.Events, want.Media, want.Notifications = 1, 2, 3
		for _, day := range []time.Duration{0, 24 * time.Hour} {
			_, err := db.RecordAttempts(ctx, []store.SendAttempt{{Destination: "a", At: received.Add(day), Error: "down"}})
			testenv.NoError(t, err)
		}
		testenv.NoError(t, db.ConfigureDestinations(ctx, []string{"b"}, received.Add(24*time.Hour)))
		testenv.NoError(t, db.PauseDestination(ctx, "b", received))
		want.Paused = 1
		check("with rows of every kind")

		testenv.NoError(t, db.MarkProcessed(ctx, []string{ev.ID}, received.Add(time.Second)))
		testenv.NoError(t, db.EndDeadLetterOf(ctx, "task-1", received))
		want.Events, want.DeadLetters[tasks.KindMediaDownload] = 0, 1
		check("when some work is done")
	})
}
