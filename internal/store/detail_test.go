package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestOperatorRequestsALookupAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		job := tasks.KlingJob("vid_1")
		_, err := db.Track(t.Context(), job, tasks.Metadata{API: tasks.APILegacy}, received)
		testenv.NoError(t, err)
		testenv.NoError(t, db.RequestLookup(t.Context(), job, received))
		requested, err := db.RequestedLookups(t.Context(), store.RequestFilter{Platform: job.Platform, Known: true, Now: received, Limit: 9})
		testenv.NoError(t, err)
		if len(requested) != 1 || requested[0].Job != job {
			t.Fatalf("requested %+v, want %s", requested, job)
		}
		want := store.LookupState{API: tasks.APILegacy, TrackedAt: received, RequestedAt: received}
		check := func(want store.LookupState) {
			t.Helper()
			got, err := db.LookupStateOf(t.Context(), job)
			testenv.NoError(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		check(want)
		testenv.NoError(t, db.PostponeLookup(t.Context(), requested[0], received.Add(time.Hour)))
		postponed := want
		postponed.RetryAt = received.Add(time.Hour)
		check(postponed)
		testenv.NoError(t, db.RequestLookup(t.Context(), job, received.Add(time.Minute))) // does not wait for the hour
		check(want)
		testenv.NoError(t, db.BeginErasure(t.Context(), job, received))
		if err := db.RequestLookup(t.Context(), job, received); !errors.Is(err, tasks.ErrErased) {
			t.Errorf("of a deleted job: %v, want ErrErased", err)
		}
		if _, err := db.LookupStateOf(t.Context(), tasks.KlingJob("vid_2")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("of an unknown job: %v, want ErrNotFound", err)
		}
	})
}

func TestAttemptsAndFailuresOfAJob(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		owed, err := recordOne(t.Context(), db, ev, update, []string{"shop"})
		testenv.NoError(t, err)
		id := owed.Notifications[0].ID
		want := []store.SendAttempt{
			{NotificationID: id, Destination: "shop", At: received, Duration: time.Second, Status: 500, Answer: "down", Error: "500"},
			{NotificationID: id, Destination: "shop", At: received.Add(time.Minute), Duration: time.Second, Status: 204},
		}
		_, err = db.RecordAttempts(t.Context(), append(want, store.SendAttempt{NotificationID: "of another job", Destination: "shop", At: received}))
		testenv.NoError(t, err)
		attempts, err := db.AttemptsOf(t.Context(), ev.Job)
		testenv.NoError(t, err)
		if diff := cmp.Diff(want, attempts); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}

		download, err := tasks.DownloadMedia(ev.Job, "video", "https://cdn.example/v.mp4")
		testenv.NoError(t, err)
		other, err := tasks.DownloadMedia(tasks.KlingJob("vid_12"), "video", "https://cdn.example/v.mp4")
		testenv.NoError(t, err)
		failure := func(at time.Duration, reason string) store.Failure {
			return store.Failure{Attempt: 1, At: received.Add(at), Error: reason}
		}
		testenv.NoError(t, db.RecordFailure(t.Context(), "notify:send:"+id, failure(time.Second, "500")))
		testenv.NoError(t, db.RecordFailure(t.Context(), download.ID, failure(0, "404")))
		testenv.NoError(t, db.RecordFailure(t.Context(), other.ID, failure(0, "of another job")))
		failures, err := db.FailuresOf(t.Context(), ev.Job)
		testenv.NoError(t, err)
		if diff := cmp.Diff([]store.TaskFailure{{TaskID: download.ID, Failure: failure(0, "404")}, {TaskID: "notify:send:" + id, Failure: failure(time.Second, "500")}}, failures); diff != "" {
			t.Errorf("failures (-want +got):\n%s", diff)
		}
	})
}
