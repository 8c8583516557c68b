package store_test

import (
	"errors"
	"slices"
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
		refused := store.LookupAnswer{At: received, Took: 3 * time.Second, Outcome: "failed", Error: "Kling answered 500"}
		requested[0].Answer = refused
		testenv.NoError(t, db.PostponeLookup(t.Context(), requested[0], received.Add(time.Hour)))
		answers, err := db.AnswersOf(t.Context(), job)
		testenv.NoError(t, err)
		if diff := cmp.Diff([]store.LookupAnswer{refused}, answers); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
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

func TestOnlyTheLatestAnswersAreKept(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		_, err := recordOne(t.Context(), db, ev, update, nil)
		testenv.NoError(t, err)
		for i := range 103 {
			answer := store.LookupAnswer{At: received.Add(time.Duration(i) * time.Second), Outcome: "found"}
			testenv.NoError(t, db.LookedUp(t.Context(), store.Lookup{Job: ev.Job, Answer: answer}, received.Add(time.Hour)))
			answer.Outcome = "unknown"
			testenv.NoError(t, db.RecordAnswer(t.Context(), tasks.KlingJob("made up"), answer))
		}
		answers, err := db.AnswersOf(t.Context(), ev.Job)
		testenv.NoError(t, err)
		if len(answers) != 100 || !answers[0].At.Equal(received.Add(3*time.Second)) || !answers[99].At.Equal(received.Add(102*time.Second)) {
			t.Errorf("%d answers %v, want the last 100 of 103", len(answers), answers)
		}
		if answers, err = db.AnswersOf(t.Context(), tasks.KlingJob("made up")); err != nil || len(answers) > 0 {
			t.Errorf("answers about a job that Kling does not know: %v, %v", answers, err)
		}
		_, err = db.EraseRows(t.Context(), ev.Job)
		testenv.NoError(t, err)
		if answers, err = db.AnswersOf(t.Context(), ev.Job); err != nil || len(answers) > 0 {
			t.Errorf("answers about a deleted job: %v, %v", answers, err)
		}

		soon := tasks.KlingJob("its event follows")
		testenv.NoError(t, db.RecordAnswer(t.Context(), soon, store.LookupAnswer{At: received, Outcome: "found"}))
		for _, want := range []int{1, 0} { // after less than an hour, and after more
			now := received.Add(time.Hour + time.Duration(1-2*want)*time.Minute)
			_, err = db.Prune(t.Context(), store.Pruning{Retention: store.Retention{Events: time.Hour}, Now: now})
			testenv.NoError(t, err)
			if answers, err = db.AnswersOf(t.Context(), soon); err != nil || len(answers) != want {
				t.Errorf("answers at %s: %v, %v; want %d", now, answers, err, want)
			}
		}
	})
}

func TestAttemptsOfAJob(t *testing.T) {
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
		at := func(seconds int) time.Time { return received.Add(time.Duration(seconds) * time.Second) }
		wantTasks := []store.TaskAttempt{
			{TaskID: "event:record:" + ev.ID, Number: 1, At: at(0), Duration: 20 * time.Millisecond, Error: "Redis is away"},
			{TaskID: download.ID, Number: 1, At: at(1), Duration: time.Second, Error: "404"},
			{TaskID: download.ID, Number: 2, At: at(2), Duration: time.Millisecond, Size: 1500},
			{TaskID: "notify:send:" + id, Number: 1, At: at(3), Error: "500"},
		}
		for _, attempt := range append(slices.Clone(wantTasks), store.TaskAttempt{TaskID: other.ID, Number: 1, At: at(0), Error: "of another job"}) {
			attempt.Duration = max(0, attempt.Duration-time.Microsecond) // rounded up
			testenv.NoError(t, db.RecordAttempt(t.Context(), attempt))
		}
		got, err := db.TaskAttemptsOf(t.Context(), ev.Job)
		testenv.NoError(t, err)
		if diff := cmp.Diff(wantTasks, got); diff != "" {
			t.Errorf("attempts of tasks (-want +got):\n%s", diff)
		}

		// The failed attempts become part of the dead letter; the stored file stays.
		testenv.NoError(t, db.Bury(t.Context(), store.DeadLetter{Task: download, Job: ev.Job, Error: "404", FailedAt: at(4)}))
		letters, err := db.DeadLetters(t.Context(), store.DeadLetterFilter{Job: ev.Job})
		testenv.NoError(t, err)
		if diff := cmp.Diff([]store.Failure{{Attempt: 1, At: at(1), DurationSeconds: 1, Error: "404"}}, letters[0].Failures); diff != "" {
			t.Errorf("failures of the dead letter (-want +got):\n%s", diff)
		}
		if got, err = db.TaskAttemptsOf(t.Context(), ev.Job); err != nil || len(got) != 3 || got[1].Size != 1500 {
			t.Errorf("attempts left are %+v, %v; want three", got, err)
		}
	})
}
