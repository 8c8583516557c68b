package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// fal is a job of another platform with the id of a job at Kling.
var fal = tasks.JobKey{Platform: "fal", ID: "vid_1"}

// falEvent is like completed, for the other platform and with its own link.
func falEvent() (tasks.Event, *tasks.JobUpdate) {
	ev, update := completed()
	ev.ID, ev.Job = "fal:done", fal
	update.EventID, update.Job, update.Prompt = ev.ID, fal, "a dog"
	update.Media = []tasks.MediaLink{{Name: "video", URL: "https://fal.example/v.mp4"}}
	return ev, update
}

func TestPlatformsDoNotShareJobs(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ours, oursUpdate := completed()
		other, otherUpdate := falEvent()
		// Both events in one transaction.
		owed, err := db.Record(ctx, []store.Recording{
			{Event: ours, Update: oursUpdate, Destinations: []string{"slack-1"}}, {Event: other, Update: otherUpdate, Destinations: []string{"slack-1"}},
		}, received)
		testenv.NoError(t, err)
		if len(owed[0].Media) != 2 || len(owed[1].Media) != 1 || owed[0].Notifications[0].ID == owed[1].Notifications[0].ID {
			t.Errorf("owed are %+v", owed)
		}
		// The file of one is stored, and the notification of the other is sent.
		file := owed[1].Media[0]
		file.Object, file.SHA256 = "o", "ab"
		_, err = db.StoreMedia(ctx, file, received, func() error { return nil })
		testenv.NoError(t, err)
		testenv.NoError(t, sent(ctx, db, owed[0].Notifications[0].ID))
		for _, want := range []struct {
			key    tasks.JobKey
			event  string
			prompt string
			media  store.MediaState
			sent   store.NotificationState
		}{
			{tasks.KlingJob("vid_1"), ours.ID, "a cat", store.MediaPending, store.NotificationSent},
			{fal, other.ID, "a dog", store.MediaStored, store.NotificationPending},
		} {
			job, err := db.Job(ctx, want.key)
			if err != nil || job.Key != want.key || job.Prompt != want.prompt {
				t.Errorf("%s is %+v, %v", want.key, job, err)
			}
			if jobs, err := db.Jobs(ctx, store.JobFilter{Platform: want.key.Platform}); err != nil || len(jobs) != 1 || jobs[0].Key != want.key {
				t.Errorf("jobs of %s are %+v, %v", want.key.Platform, jobs, err)
			}
			if events, err := db.Events(ctx, store.EventFilter{Job: want.key}); err != nil || len(events) != 1 || events[0].ID != want.event || events[0].Job != want.key {
				t.Errorf("events of %s are %+v, %v", want.key, events, err)
			}
			if video, err := db.Medium(ctx, want.key, "video"); err != nil || video.State != want.media {
				t.Errorf("video of %s is %s, %v; want %s", want.key, video.State, err, want.media)
			}
			if list, err := db.NotificationsOf(ctx, want.key); err != nil || len(list) != 1 || list[0].State != want.sent {
				t.Errorf("notifications of %s are %+v, %v; want one %s", want.key, list, err, want.sent)
			}
		}
		missing, err := db.MissingVideos(ctx, []tasks.JobKey{fal, tasks.KlingJob("vid_1")})
		if diff := cmp.Diff([]tasks.JobKey{tasks.KlingJob("vid_1")}, missing); err != nil || diff != "" {
			t.Errorf("missing videos, %v (-want +got):\n%s", err, diff)
		}
	})
}

func TestPlatformsDoNotShareDeadLetters(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ours, oursUpdate := completed()
		other, otherUpdate := falEvent()
		for _, r := range []store.Recording{{Event: ours, Update: oursUpdate}, {Event: other, Update: otherUpdate}} {
			owed, err := recordOne(ctx, db, r.Event, r.Update, nil)
			testenv.NoError(t, err)
			file := owed.Media[len(owed.Media)-1] // the video
			buryOf(t, db, file.Job, "")(tasks.DownloadMedia(file.Job, file.Name, file.URL))
			if file.Job == fal {
				_, err = db.StoreMedia(ctx, file, received, func() error { return nil })
				testenv.NoError(t, err)
			}
		}
		letters, err := db.DeadLetters(ctx, store.DeadLetterFilter{Job: fal})
		if err != nil || len(letters) != 1 || letters[0].Job != fal {
			t.Errorf("dead letters of %s are %+v, %v", fal, letters, err)
		}
		ended, err := db.EndDone(ctx, received)
		if err != nil || len(ended) != 1 {
			t.Errorf("ended %+v, %v; want that of the stored file", ended, err)
		}
		letters, err = db.DeadLetters(ctx, store.DeadLetterFilter{})
		if err != nil || len(letters) != 1 || letters[0].Job != tasks.KlingJob("vid_1") {
			t.Errorf("open dead letters are %+v, %v", letters, err)
		}
	})
}

func TestPlatformsDoNotShareLookups(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		for _, key := range []tasks.JobKey{tasks.KlingJob("vid_1"), fal} {
			if created, err := db.Track(ctx, key, tasks.Metadata{API: "api-of-" + key.Platform}, received); err != nil || !created {
				t.Errorf("track %s: created %t, %v", key, created, err)
			}
			ev := event(key.Platform+":hint", "callback")
			_, err := recordOne(ctx, db, ev, &tasks.JobUpdate{Job: key, EventID: ev.ID, Unproven: true}, nil)
			testenv.NoError(t, err)
		}
		due := func(platform string) (list []store.Lookup) {
			t.Helper()
			stale, err := db.StaleJobs(ctx, platform, received, received.Add(time.Minute), 10)
			testenv.NoError(t, err)
			requested, err := db.RequestedLookups(ctx, store.RequestFilter{Platform: platform, Known: true, Now: received, Limit: 10})
			testenv.NoError(t, err)
			return append(stale, requested...)
		}
		for _, key := range []tasks.JobKey{tasks.KlingJob("vid_1"), fal} {
			want := store.Lookup{Job: key, Known: true, API: "api-of-" + key.Platform, HeardAt: received}
			again := want
			again.Request = 1
			if diff := cmp.Diff([]store.Lookup{want, again}, due(key.Platform)); diff != "" {
				t.Errorf("due at %s (-want +got):\n%s", key.Platform, diff)
			}
		}
		// A look-up of one job does not change the other.
		testenv.NoError(t, db.LookedUp(ctx, store.Lookup{Job: fal, Request: 1}, received.Add(time.Hour)))
		testenv.NoError(t, db.PostponeLookup(ctx, store.Lookup{Job: fal}, received.Add(time.Hour)))
		testenv.NoError(t, db.FoundByAnotherName(ctx, store.Lookup{Job: fal, HeardAt: received}, "vid_2", ""))
		if list := due(tasks.PlatformKling); len(list) != 2 {
			t.Errorf("due at kling are %+v, want both", list)
		}
		if list := due("fal"); len(list) != 1 || list[0].Job != (tasks.JobKey{Platform: "fal", ID: "vid_2"}) {
			t.Errorf("due at fal are %+v, want vid_2", list)
		}
	})
}
