package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestErasedJobDoesNotComeBack(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		record := func(id string) store.Owed {
			t.Helper()
			another, own := event("klingai:another", tasks.TypeCreated), ev
			another.Job, own.ID = tasks.KlingJob("vid_2"), id
			owed, err := db.Record(t.Context(), []store.Recording{
				{Event: own, Update: update, Destinations: []string{"shop"}},
				{Event: another, Update: &tasks.JobUpdate{Job: another.Job, EventID: another.ID, Status: tasks.StatusCreated}},
			}, received)
			testenv.NoError(t, err)
			return owed[0]
		}
		if owed := record(ev.ID); owed.Erased || len(owed.Media) != 2 {
			t.Fatalf("owed %+v before", owed)
		}
		file, err := db.Medium(t.Context(), ev.Job, "video")
		testenv.NoError(t, err)
		testenv.NoError(t, db.RecordAttempt(t.Context(), store.TaskAttempt{TaskID: "event:record:" + ev.ID, Number: 1, At: received, Error: "secret"}))
		letter := store.DeadLetter{Task: tasks.Task{ID: "notify:send:x", Kind: tasks.KindNotifySend}, Job: ev.Job, Error: "gone", FailedAt: received}
		testenv.NoError(t, db.Bury(t.Context(), letter))

		testenv.NoError(t, db.BeginErasure(t.Context(), ev.Job, received))
		// A download in progress finds its row gone.
		_, err = db.StoreMedia(t.Context(), file, received, func() error {
			rows, err := db.EraseRows(t.Context(), ev.Job)
			if want := (store.ErasedRows{Events: 1, Notifications: 1, DeadLetters: 1}); rows != want {
				t.Errorf("deleted %+v, want %+v", rows, want)
			}
			return err
		})
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("published with %v, want ErrNotFound", err)
		}
		for _, id := range []string{ev.ID, "klingai:late"} {
			if owed := record(id); !owed.Erased || owed.Media != nil || owed.Notifications != nil {
				t.Errorf("owed %+v after", owed)
			}
		}
		_, trackErr := db.Track(t.Context(), ev.Job, tasks.Metadata{}, received)
		_, keepErr := db.KeepEvent(t.Context(), ev)
		for name, err := range map[string]error{"keep": keepErr, "track": trackErr} {
			if !errors.Is(err, tasks.ErrErased) {
				t.Errorf("%s: %v, want tasks.ErrErased", name, err)
			}
		}
		testenv.NoError(t, db.Bury(t.Context(), letter))
		rows, err := db.EraseRows(t.Context(), ev.Job)
		if err != nil || rows != (store.ErasedRows{}) {
			t.Errorf("deleted again: %+v, %v; want nothing", rows, err)
		}
		if _, err := db.Job(t.Context(), tasks.KlingJob("vid_2")); err != nil {
			t.Errorf("the other job: %v", err)
		}
	})
}

func TestErasureIsDueUntilPostponedForever(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		job := tasks.KlingJob("vid_1")
		due := func(at time.Time) []store.Erasure {
			t.Helper()
			list, err := db.DueErasures(t.Context(), at, 10)
			testenv.NoError(t, err)
			return list
		}
		testenv.NoError(t, db.BeginErasure(t.Context(), job, received))
		first := due(received)
		testenv.NoError(t, db.BeginErasure(t.Context(), job, received.Add(time.Minute)))
		testenv.NoError(t, db.PostponeErasure(t.Context(), first[0], time.Time{})) // restarted meanwhile
		list := due(received.Add(time.Minute))
		if len(list) != 1 || list[0].Job != job {
			t.Fatalf("due: %v, want %s", list, job)
		}
		testenv.NoError(t, db.PostponeErasure(t.Context(), list[0], time.Time{}))
		if list := due(received.Add(time.Hour)); len(list) > 0 {
			t.Errorf("due: %v, want none", list)
		}
	})
}
