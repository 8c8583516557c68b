package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestCompletedJobWithoutMediaIsDueUntilItArrives(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx, key := t.Context(), tasks.KlingJob("vid_1")
		record := func(id string, minute int, missing string, media ...tasks.MediaLink) store.Owed {
			t.Helper()
			ev := event(id, tasks.TypeCompleted)
			owed, err := recordOne(ctx, db, ev, &tasks.JobUpdate{
				Job: key, EventID: id, OccurredAt: t0.Add(time.Duration(minute) * time.Minute), Status: tasks.StatusCompleted, Missing: missing, Media: media,
			}, nil)
			testenv.NoError(t, err)
			return owed
		}
		due := func(at time.Time, want ...store.Lookup) {
			t.Helper()
			list, err := db.JobsWithoutMedia(ctx, tasks.PlatformKling, at, 10)
			if diff := cmp.Diff(want, list); err != nil || diff != "" {
				t.Errorf("due at %s: %v (-want +got)\n%s", at, err, diff)
			}
		}
		if owed := record("e1", 1, "no link"); owed.NoMedia != "no link" || owed.Settled || owed.FoundMedia {
			t.Errorf("owed %+v", owed)
		}
		lookup := store.Lookup{Job: key, Known: true, HeardAt: received, NoMedia: "no link", Ended: true}
		due(received.Add(-time.Second))
		due(received, lookup)
		testenv.NoError(t, db.LookedUp(ctx, lookup, received.Add(time.Minute)))
		record("e2", 2, "no outputs") // does not start over
		due(received)
		lookup.Asked, lookup.NoMedia = 1, "no outputs"
		due(received.Add(time.Minute), lookup)

		task, err := tasks.FindMedia(key)
		testenv.NoError(t, err)
		testenv.NoError(t, db.Bury(ctx, store.DeadLetter{Task: task, Job: key, Error: "none", FailedAt: received}))
		testenv.NoError(t, db.LookedUp(ctx, lookup, time.Time{}))
		due(received.Add(100 * time.Hour))
		testenv.NoError(t, db.ReopenNoMedia(ctx, key, received))
		lookup.Asked = 0
		due(received, lookup)
		if _, err := db.EndDone(ctx, received); err != nil || len(letters(t, db)) != 1 {
			t.Errorf("dead letters %+v, %v", letters(t, db), err)
		}
		if owed := record("e3", 0, "", tasks.MediaLink{Name: "video", URL: "https://cdn.example/v.mp4"}); owed.NoMedia != "" || !owed.FoundMedia || len(owed.Media) != 1 {
			t.Errorf("owed %+v", owed)
		}
		due(received.Add(100 * time.Hour))
		if reason, err := db.NoMedia(ctx, key); reason != "" || err != nil {
			t.Errorf("missing %q, %v", reason, err)
		}
		testenv.NoError(t, db.ReopenNoMedia(ctx, key, received))
		due(received.Add(100 * time.Hour))
		if ended, err := db.EndDone(ctx, received); err != nil || len(ended) != 1 || ended[0].ID != task.ID {
			t.Errorf("ended %+v, %v", ended, err)
		}
	})
}

func TestCostsAreChargedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		usd := func(amount string) []tasks.Cost { return []tasks.Cost{{Amount: amount, Unit: "USD", Kind: "cash"}} }
		for _, step := range []struct {
			id      string
			minute  int
			costs   []tasks.Cost
			charged []tasks.Cost
		}{
			{"e1", 1, usd("0.1"), usd("0.1")},
			{"e1", 1, usd("0.1"), nil},
			{"e2", 3, usd("0.3"), usd("0.2")},
			{"e3", 2, usd("0.7"), nil}, // an earlier one
			{"e4", 4, nil, nil},
		} {
			ev := event(step.id, tasks.TypeProcessing)
			owed, err := recordOne(t.Context(), db, ev, &tasks.JobUpdate{
				Job: ev.Job, EventID: step.id, OccurredAt: t0.Add(time.Duration(step.minute) * time.Minute), Status: tasks.StatusProcessing, Model: "v1", Costs: step.costs,
			}, []string{"slack-1"})
			testenv.NoError(t, err)
			if diff := cmp.Diff(step.charged, owed.Charged); diff != "" || owed.Model != "v1" {
				t.Errorf("%s charged for %q (-want +got)\n%s", step.id, owed.Model, diff)
			}
		}
		job, err := db.Job(t.Context(), tasks.KlingJob("vid_1"))
		if diff := cmp.Diff(usd("0.3"), job.Costs); err != nil || diff != "" {
			t.Errorf("costs: %v (-want +got)\n%s", err, diff)
		}
	})
}

func TestTrackedJobIsNotATestCallback(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ev := event("e1", tasks.TypeCreated)
		_, err := recordOne(ctx, db, ev, &tasks.JobUpdate{Job: ev.Job, EventID: ev.ID, Status: tasks.StatusCreated, MaybeTest: true}, nil)
		testenv.NoError(t, err)
		check := func(want bool) {
			t.Helper()
			job, err := db.Job(ctx, ev.Job)
			testenv.NoError(t, err)
			possible, err := db.PossibleTests(ctx, tasks.PlatformKling, received, received, 10)
			testenv.NoError(t, err)
			shown, err := db.TestCallbacks(ctx, []tasks.JobKey{ev.Job})
			testenv.NoError(t, err)
			stale, err := db.StaleJobs(ctx, tasks.PlatformKling, received, received, 10)
			testenv.NoError(t, err)
			if job.TestCallback != want || (len(possible) == 1) != want || (len(shown) == 1) != want || stale[0].TestCallback != want {
				t.Errorf("test callback %t, possible %v, shown %v, stale %v; want %t", job.TestCallback, possible, shown, stale, want)
			}
		}
		check(true)
		_, err = db.Track(ctx, ev.Job, tasks.Metadata{}, received)
		testenv.NoError(t, err)
		check(false)
	})
}
