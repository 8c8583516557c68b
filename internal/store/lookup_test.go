package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestTrackedJobKeepsItsLatestAPI(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for i, want := range []bool{true, false} {
			if created, err := db.Track(t.Context(), tasks.KlingJob("vid_1"), tasks.Metadata{}, received); err != nil || created != want {
				t.Errorf("call %d: created %t, %v; want %t", i+1, created, err, want)
			}
		}
		if j, err := db.Job(t.Context(), tasks.KlingJob("vid_1")); err != nil || j.Status != tasks.StatusCreated {
			t.Errorf("job is %s, %v; want created", j.Status, err)
		}
		for i, want := range []string{"text2video", "image2video", "effects", "effects"} {
			if i == 2 { // a look-up overrides it
				testenv.NoError(t, db.LookedUp(t.Context(), store.Lookup{Job: tasks.KlingJob("vid_1"), API: want}, received))
			}
			given := []string{"text2video", "image2video", "", "omni-video"}[i]
			_, err := db.Track(t.Context(), tasks.KlingJob("vid_1"), tasks.Metadata{API: given}, received.Add(time.Duration(i)*time.Second))
			testenv.NoError(t, err)
			if api, err := db.JobAPI(t.Context(), tasks.KlingJob("vid_1")); err != nil || api != want {
				t.Errorf("API is %q, %v; want %s", api, err, want)
			}
		}
	})
}

func TestJobWithoutNewsIsDueForALookup(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		record := func(source, id string, status tasks.Status, at time.Time) {
			t.Helper()
			ev := event(id, "video."+string(status))
			ev.Source, ev.ReceivedAt = source, at
			_, err := recordOne(t.Context(), db, ev, &tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: id, OccurredAt: at, Status: status}, nil)
			testenv.NoError(t, err)
		}
		due := func(at time.Time) []store.Lookup {
			t.Helper()
			list, err := db.StaleJobs(t.Context(), tasks.PlatformKling, at.Add(-15*time.Minute), at, 10)
			testenv.NoError(t, err)
			return list
		}
		record("klingai", "e1", tasks.StatusCreated, received)
		at := received.Add(15 * time.Minute)
		if list := due(at.Add(-time.Microsecond)); len(list) != 0 {
			t.Errorf("due too early: %+v", list)
		}
		counts := func(at time.Time) store.LookupCounts {
			t.Helper()
			counts, err := db.CountLookups(t.Context(), tasks.PlatformKling, at.Add(-15*time.Minute), at)
			testenv.NoError(t, err)
			return counts
		}
		if early, late := counts(at.Add(-time.Microsecond)), counts(at); early != (store.LookupCounts{}) || late != (store.LookupCounts{Due: 1}) {
			t.Errorf("counted %+v and then %+v", early, late)
		}
		want := []store.Lookup{{Job: tasks.KlingJob("vid_1"), Known: true, HeardAt: received}}
		if diff := cmp.Diff(want, due(at)); diff != "" {
			t.Fatalf("due (-want +got):\n%s", diff)
		}
		want[0].API = tasks.APITasks
		testenv.NoError(t, db.LookedUp(t.Context(), want[0], at.Add(time.Hour)))
		if list := due(at.Add(59 * time.Minute)); len(list) != 0 {
			t.Errorf("due before its time: %+v", list)
		}
		// An answer without news changes neither the next look-up nor the time of the last news.
		record(tasks.SourceLookup, "e2", tasks.StatusCreated, at)
		want[0].Asked = 1
		if diff := cmp.Diff(want, due(at.Add(time.Hour))); diff != "" {
			t.Errorf("due an hour later (-want +got):\n%s", diff)
		}
		record(tasks.SourceLookup, "e3", tasks.StatusProcessing, at)
		want[0].Asked, want[0].HeardAt = 0, at
		if diff := cmp.Diff(want, due(at.Add(15*time.Minute))); diff != "" {
			t.Errorf("due after it moved (-want +got):\n%s", diff)
		}
		record("klingai", "e4", tasks.StatusFailed, at)
		if list := due(at.Add(time.Hour)); len(list) != 0 {
			t.Errorf("a finished job is due: %+v", list)
		}
	})
}

func TestUnprovenEventOnlyRequestsALookup(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		request := func(id string, at time.Time) {
			t.Helper()
			ev := event(id, "callback")
			ev.ReceivedAt = at
			_, err := recordOne(t.Context(), db, ev, &tasks.JobUpdate{Job: tasks.KlingJob("vid_1"), EventID: id, Unproven: true, API: tasks.APILegacy, Status: tasks.StatusCompleted}, []string{"slack-1"})
			testenv.NoError(t, err)
		}
		requested := func() []store.Lookup {
			t.Helper()
			list, err := db.RequestedLookups(t.Context(), store.RequestFilter{Platform: tasks.PlatformKling, Now: received.Add(time.Minute), Limit: 10})
			testenv.NoError(t, err)
			return list
		}
		request("e1", received)
		list := requested()
		if diff := cmp.Diff([]store.Lookup{{Job: tasks.KlingJob("vid_1"), API: tasks.APILegacy, HeardAt: received, Request: 1}}, list); diff != "" {
			t.Fatalf("requested (-want +got):\n%s", diff)
		}
		if jobs, err := db.Jobs(t.Context(), store.JobFilter{}); err != nil || len(jobs) != 0 {
			t.Errorf("jobs %+v, %v; want none", jobs, err)
		}
		if n, err := db.NotificationsOf(t.Context(), tasks.KlingJob("vid_1")); err != nil || len(n) != 0 {
			t.Errorf("notifications %+v, %v; want none", n, err)
		}
		request("e2", received.Add(time.Second))
		testenv.NoError(t, db.LookedUp(t.Context(), list[0], received.Add(time.Hour)))
		if list = requested(); len(list) != 1 {
			t.Fatalf("requested %+v, want the request that came meanwhile", list)
		}
		testenv.NoError(t, db.LookedUp(t.Context(), list[0], received.Add(time.Hour)))
		if list = requested(); len(list) != 0 {
			t.Errorf("requested %+v, want none", list)
		}
		testenv.NoError(t, db.MarkProcessed(t.Context(), []string{"e1"}, received))
		request("e1", received.Add(time.Minute))
		if list = requested(); len(list) != 1 {
			t.Errorf("requested %+v after a repeat, want another request", list)
		}
	})
}

func TestRequestedLookupsAreOrderedAndCanBePostponed(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		_, err := db.Track(t.Context(), tasks.KlingJob("vid_known"), tasks.Metadata{}, received)
		testenv.NoError(t, err)
		for i, id := range []string{"vid_a", "vid_b", "vid_known", "vid_c"} {
			ev := event("e"+id, "callback")
			ev.ReceivedAt = received.Add(time.Duration(i) * time.Second)
			_, err := recordOne(t.Context(), db, ev, &tasks.JobUpdate{Job: tasks.KlingJob(id), EventID: ev.ID, Unproven: true}, nil)
			testenv.NoError(t, err)
		}
		requested := func(f store.RequestFilter, want ...string) []store.Lookup {
			t.Helper()
			f.Now, f.Limit = received.Add(time.Minute), max(2, len(want))
			list, err := db.RequestedLookups(t.Context(), f)
			testenv.NoError(t, err)
			var got []string
			for _, l := range list {
				got = append(got, l.Job.ID)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", f, diff)
			}
			return list
		}
		oldest := requested(store.RequestFilter{Platform: tasks.PlatformKling}, "vid_a", "vid_b")
		requested(store.RequestFilter{Platform: tasks.PlatformKling, Newest: true}, "vid_c", "vid_b")
		known := requested(store.RequestFilter{Platform: tasks.PlatformKling, Known: true}, "vid_known")
		testenv.NoError(t, db.PostponeLookup(t.Context(), oldest[0], received.Add(10*time.Second)))
		requested(store.RequestFilter{Platform: tasks.PlatformKling}, "vid_b", "vid_c", "vid_a")
		testenv.NoError(t, db.PostponeLookup(t.Context(), oldest[0], received.Add(time.Hour)))
		requested(store.RequestFilter{Platform: tasks.PlatformKling}, "vid_b", "vid_c")
		for _, next := range []time.Duration{time.Hour, time.Minute} {
			testenv.NoError(t, db.LookedUp(t.Context(), known[0], received.Add(next)))
		}
		if early, err := db.StaleJobs(t.Context(), tasks.PlatformKling, received, received.Add(59*time.Minute), 10); err != nil || len(early) > 0 {
			t.Errorf("due right after its look-up: %+v, %v", early, err)
		}
		due, err := db.StaleJobs(t.Context(), tasks.PlatformKling, received, received.Add(time.Hour), 10)
		if want := []store.Lookup{{Job: tasks.KlingJob("vid_known"), Known: true, HeardAt: received}}; err != nil || !cmp.Equal(want, due) {
			t.Errorf("due are %+v, %v; want %+v", due, err, want)
		}
	})
}

func TestLongestDueJobComesFirstAndAFailedOneLast(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for i, id := range []string{"vid_poison", "vid_b", "vid_c", "vid_asked"} {
			_, err := db.Track(t.Context(), tasks.KlingJob(id), tasks.Metadata{}, received.Add(time.Duration(i)*time.Second))
			testenv.NoError(t, err)
		}
		testenv.NoError(t, db.LookedUp(t.Context(), store.Lookup{Job: tasks.KlingJob("vid_asked")}, received.Add(time.Hour)))
		testenv.NoError(t, db.PostponeLookup(t.Context(), store.Lookup{Job: tasks.KlingJob("vid_poison")}, received.Add(30*time.Second)))
		due := func(after time.Duration, limit int) (ids []string) {
			t.Helper()
			list, err := db.StaleJobs(t.Context(), tasks.PlatformKling, received.Add(after), received.Add(after), limit)
			testenv.NoError(t, err)
			for _, l := range list {
				ids = append(ids, l.Job.ID)
			}
			return ids
		}
		for after, want := range map[time.Duration][]string{
			10 * time.Second: {"vid_b", "vid_c"},
			time.Minute:      {"vid_b", "vid_c", "vid_poison"},
			time.Hour:        {"vid_b", "vid_c", "vid_poison", "vid_asked"},
		} {
			if diff := cmp.Diff(want, due(after, 10)); diff != "" {
				t.Errorf("due after %s (-want +got):\n%s", after, diff)
			}
			if diff := cmp.Diff(want[:2], due(after, 2)); diff != "" {
				t.Errorf("due first after %s (-want +got):\n%s", after, diff)
			}
		}
	})
}

func TestTrackedExternalIDIsReplacedUnlessItHasEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		_, err := recordOne(t.Context(), db, ev, update, nil)
		testenv.NoError(t, err)
		_, err = db.Track(t.Context(), tasks.KlingJob("mine-1"), tasks.Metadata{}, received)
		testenv.NoError(t, err)
		for _, name := range []string{"mine-1", "mine-1", ev.Job.ID} { // the second time there is nothing left to do
			l := store.Lookup{Job: tasks.KlingJob(name), Known: true, HeardAt: received}
			testenv.NoError(t, db.FoundByAnotherName(t.Context(), l, "881", "text2video"))
		}
		due, err := db.StaleJobs(t.Context(), tasks.PlatformKling, received, received, 10)
		want := []store.Lookup{{Job: tasks.KlingJob("881"), Known: true, API: "text2video", HeardAt: received}}
		if diff := cmp.Diff(want, due); err != nil || diff != "" {
			t.Errorf("due, %v (-want +got):\n%s", err, diff)
		}
		if _, err := db.Job(t.Context(), ev.Job); err != nil {
			t.Errorf("a job with an event was deleted: %v", err)
		}
	})
}
