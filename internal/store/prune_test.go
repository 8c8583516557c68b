package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// later is a time when everything received at received has outlived its retention.
var later = received.Add(100 * 24 * time.Hour)

const days90 = 90 * 24 * time.Hour

// finished records a completed job whose work is done, with the files and notification of
// [completed]. Each change may leave some work undone.
func finished(t *testing.T, db *store.Store) (tasks.Event, *tasks.JobUpdate) {
	t.Helper()
	ev, update := completed()
	owed, err := recordOne(t.Context(), db, ev, update, []string{"slack-1"})
	testenv.NoError(t, err)
	for _, file := range owed.Media {
		file.Object, file.Size = "vid_1/"+file.Name, 10
		_, err := db.StoreMedia(t.Context(), file, received, func() error { return nil })
		testenv.NoError(t, err)
	}
	testenv.NoError(t, sent(t.Context(), db, owed.Notifications[0].ID))
	testenv.NoError(t, db.MarkProcessed(t.Context(), []string{ev.ID}, received))
	return ev, update
}

// noMedia records a completed job without its file.
func noMedia(t *testing.T, db *store.Store) {
	t.Helper()
	ev := event("klingai:bare", tasks.TypeCompleted)
	ev.Job = tasks.KlingJob("vid_2")
	_, err := recordOne(t.Context(), db, ev, &tasks.JobUpdate{Job: ev.Job, EventID: ev.ID, Status: tasks.StatusCompleted, Missing: "no link"}, nil)
	testenv.NoError(t, err)
	testenv.NoError(t, db.MarkProcessed(t.Context(), []string{ev.ID}, received))
}

func TestPruneKeepsOwedAndUnfinishedWork(t *testing.T) {
	letter := store.DeadLetter{Task: tasks.Task{Kind: tasks.KindNotifySend, ID: "notify:send:x"}, Job: tasks.KlingJob("vid_1"), Error: "gone", FailedAt: received}
	record := func(t *testing.T, db *store.Store, id, kind string, update tasks.JobUpdate, destinations ...string) store.Owed {
		t.Helper()
		ev := event(id, kind)
		update.Job, update.EventID = ev.Job, ev.ID
		owed, err := recordOne(t.Context(), db, ev, &update, destinations)
		testenv.NoError(t, err)
		return owed
	}
	tests := []struct {
		name string
		// change leaves work undone.
		change func(t *testing.T, db *store.Store)
		want   store.Pruned
	}{
		{"done", func(*testing.T, *store.Store) {}, store.Pruned{Events: 1, Jobs: 1, Files: 2, Bytes: 20}},
		{"an event is not processed", func(t *testing.T, db *store.Store) {
			owed := record(t, db, "klingai:more", tasks.TypeProcessing, tasks.JobUpdate{Status: tasks.StatusProcessing}, "slack-1")
			testenv.NoError(t, sent(t.Context(), db, owed.Notifications[0].ID))
		}, store.Pruned{}},
		{"a notification is pending", func(t *testing.T, db *store.Store) {
			record(t, db, "klingai:more", tasks.TypeProcessing, tasks.JobUpdate{Status: tasks.StatusProcessing}, "slack-1")
			testenv.NoError(t, db.MarkProcessed(t.Context(), []string{"klingai:more"}, received))
		}, store.Pruned{}},
		{"a file is pending", func(t *testing.T, db *store.Store) {
			record(t, db, "klingai:more", tasks.TypeCompleted, tasks.JobUpdate{Status: tasks.StatusCompleted, Media: []tasks.MediaLink{{Name: "video-2", URL: "https://cdn.example/2.mp4"}}})
			testenv.NoError(t, db.MarkProcessed(t.Context(), []string{"klingai:more"}, received))
		}, store.Pruned{}},
		{"a dead letter is open", func(t *testing.T, db *store.Store) { testenv.NoError(t, db.Bury(t.Context(), letter)) }, store.Pruned{}},
		{"a dead letter has ended", func(t *testing.T, db *store.Store) {
			testenv.NoError(t, db.Bury(t.Context(), letter))
			testenv.NoError(t, db.EndDeadLetterOf(t.Context(), letter.Task.ID, received))
		}, store.Pruned{Events: 1, Jobs: 1, Files: 2, Bytes: 20, DeadLetters: 1}},
		{"a look-up is requested", func(t *testing.T, db *store.Store) {
			hint := event("klinghook:hint", tasks.TypeCompleted)
			_, err := recordOne(t.Context(), db, hint, &tasks.JobUpdate{Job: hint.Job, Unproven: true}, nil)
			testenv.NoError(t, err)
			testenv.NoError(t, db.MarkProcessed(t.Context(), []string{hint.ID}, received))
		}, store.Pruned{}},
		{"another job lacks its file", noMedia, store.Pruned{Events: 1, Jobs: 1, Files: 2, Bytes: 20}},
		{"a person gave up the missing file", func(t *testing.T, db *store.Store) {
			noMedia(t, db)
			find := store.DeadLetter{Task: tasks.Task{Kind: tasks.KindMediaFind, ID: "media:find:vid_2"}, Job: tasks.KlingJob("vid_2"), Error: "no file", FailedAt: received}
			testenv.NoError(t, db.Bury(t.Context(), find))
			letters, err := db.DeadLetters(t.Context(), store.DeadLetterFilter{Job: find.Job})
			testenv.NoError(t, err)
			testenv.NoError(t, db.EndDeadLetter(t.Context(), letters[0], store.DeadLetterDiscarded, received))
		}, store.Pruned{Events: 2, Jobs: 2, Files: 2, Bytes: 20, DeadLetters: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, db *store.Store) {
				finished(t, db)
				tt.change(t, db)
				all := store.Retention{Events: days90, Jobs: days90, Media: days90}
				for _, dry := range []bool{true, false} {
					got, err := db.Prune(t.Context(), store.Pruning{Retention: all, Now: later, DryRun: dry})
					testenv.NoError(t, err)
					if diff := cmp.Diff(tt.want, got); diff != "" {
						t.Errorf("dry run %t (-want +got):\n%s", dry, diff)
					}
				}
				again, err := db.Prune(t.Context(), store.Pruning{Retention: all, Now: later})
				if err != nil || again != (store.Pruned{}) {
					t.Errorf("a second run deleted %+v, %v", again, err)
				}
			})
		})
	}
}

func TestPruneRespectsEachRetention(t *testing.T) {
	tests := []struct {
		name string
		keep store.Retention
		now  time.Time
		want store.Pruned
	}{
		{"keep all", store.Retention{}, later, store.Pruned{}},
		{"too young", store.Retention{Events: days90, Jobs: days90, Media: days90}, received.Add(days90), store.Pruned{}},
		{"events", store.Retention{Events: days90}, later, store.Pruned{Events: 1, Rejections: 1}},
		{"media", store.Retention{Media: days90}, later, store.Pruned{Files: 2, Bytes: 20}},
		{"jobs with kept files", store.Retention{Jobs: days90}, later, store.Pruned{}},
		{"jobs and files", store.Retention{Jobs: days90, Media: days90}, later, store.Pruned{Jobs: 1, Files: 2, Bytes: 20}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, db *store.Store) {
				finished(t, db)
				testenv.NoError(t, db.KeepRejection(t.Context(), tasks.Rejection{ID: "rej_1", ReceivedAt: received}))
				got, err := db.Prune(t.Context(), store.Pruning{Retention: tt.keep, Now: tt.now})
				if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			})
		})
	}
}

// A discarded event stays unprocessed: without its dead letter it would be owed again.
func TestDiscardedEventAndItsDeadLetterArePrunedTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev := event("klingai:odd", "video.odd")
		ev.Job.ID = ""
		keepEvent(t, db, ev)
		testenv.NoError(t, db.Bury(t.Context(), store.DeadLetter{Task: tasks.Task{Kind: tasks.KindEventRecord, ID: "event:record:odd"}, EventID: ev.ID, Error: "odd", FailedAt: received}))
		letters, err := db.DeadLetters(t.Context(), store.DeadLetterFilter{})
		testenv.NoError(t, err)
		all := store.Retention{Events: days90}
		got, err := db.Prune(t.Context(), store.Pruning{Retention: all, Now: later})
		if err != nil || got != (store.Pruned{}) {
			t.Errorf("an event with an open dead letter: %+v, %v", got, err)
		}
		// Ended just after the event's own retention.
		testenv.NoError(t, db.EndDeadLetter(t.Context(), letters[0], store.DeadLetterDiscarded, received.Add(-time.Hour)))
		got, err = db.Prune(t.Context(), store.Pruning{Retention: all, Now: received.Add(days90)})
		if err != nil || got != (store.Pruned{}) {
			t.Errorf("a dead letter older than its event: %+v, %v", got, err)
		}
		got, err = db.Prune(t.Context(), store.Pruning{Retention: all, Now: later})
		if err != nil || got != (store.Pruned{Events: 1, DeadLetters: 1}) {
			t.Errorf("a discarded event: %+v, %v", got, err)
		}
	})
}

func TestRepeatOfPrunedEventHasNoSecondEffect(t *testing.T) {
	for name, keep := range map[string]store.Retention{"event": {Events: days90}, "file": {Events: days90, Media: days90}, "job": {Jobs: days90, Media: days90}} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, db *store.Store) {
				ev, update := finished(t, db)
				before, beforeErr := db.Job(t.Context(), ev.Job)
				testenv.NoError(t, beforeErr)
				_, err := db.Prune(t.Context(), store.Pruning{Retention: keep, Now: later})
				testenv.NoError(t, err)
				owed, err := recordOne(t.Context(), db, ev, update, []string{"slack-1"})
				if err != nil || len(owed.Media)+len(owed.Notifications) > 0 {
					t.Errorf("the repeat owes %+v, %v", owed, err)
				}
				after, err := db.Job(t.Context(), ev.Job)
				if name == "job" {
					if _, eventErr := db.Event(t.Context(), ev.ID); !owed.Erased || !errors.Is(err, store.ErrNotFound) || !errors.Is(eventErr, store.ErrNotFound) {
						t.Errorf("the repeat brought back the job %+v, %v, or its event, %v", after, err, eventErr)
					}
					if _, err := db.Track(t.Context(), ev.Job, tasks.Metadata{}, later); !errors.Is(err, tasks.ErrErased) {
						t.Errorf("track the job again: %v", err)
					}
					_, err := db.Prune(t.Context(), store.Pruning{Retention: keep, Now: later.Add(366 * 24 * time.Hour)})
					testenv.NoError(t, err)
					owed, err := recordOne(t.Context(), db, ev, update, nil)
					if err != nil || owed.Erased || len(owed.Media) != 2 {
						t.Errorf("after a year the event owes %+v, %v", owed, err)
					}
					return
				}
				if diff := cmp.Diff(before, after); diff != "" || err != nil {
					t.Errorf("%v; the job (-before +after):\n%s", err, diff)
				}
			})
		})
	}
}

func TestDoomedObjectsAreClaimedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		finished(t, db)
		_, err := db.Prune(t.Context(), store.Pruning{Retention: store.Retention{Media: days90}, Now: later})
		testenv.NoError(t, err)
		claim := func(at time.Time, want ...string) {
			t.Helper()
			got, err := db.DoomedObjects(t.Context(), at, at.Add(time.Minute), 10)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("claimed at %s: %v (-want +got):\n%s", at, err, diff)
			}
		}
		claim(later, "vid_1/thumbnail", "vid_1/video")
		claim(later) // another worker
		file, err := db.Medium(t.Context(), tasks.KlingJob("vid_1"), "video")
		if err != nil || file.State != store.MediaDeleted || file.Object != "" || file.Size != 10 {
			t.Errorf("the file is %+v, %v", file, err)
		}
		// A person wants it again before the old object is gone.
		testenv.NoError(t, db.ReopenMedia(t.Context(), file.Job, file.Name, later))
		file.Object = "vid_1/video"
		published := func() error {
			t.Error("published an object that is about to be deleted")
			return nil
		}
		if _, err := db.StoreMedia(t.Context(), file, later, published); err == nil {
			t.Error("stored a file whose object is about to be deleted")
		}
		claim(later.Add(time.Hour), "vid_1/thumbnail", "vid_1/video") // its worker died
		testenv.NoError(t, db.ObjectsDeleted(t.Context(), []string{"vid_1/thumbnail", "vid_1/video"}))
		claim(later.Add(2 * time.Hour))
		_, err = db.StoreMedia(t.Context(), file, later, func() error { return nil })
		testenv.NoError(t, err)
		if file, err := db.Medium(t.Context(), file.Job, file.Name); err != nil || file.State != store.MediaStored || file.Object != "vid_1/video" {
			t.Errorf("the file is %+v, %v", file, err)
		}
	})
}

// A file that is stored again with another type, or was published by a process that died,
// leaves no object behind.
func TestOtherObjectsOfStoredFileAreDoomed(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ev, update := completed()
		_, err := recordOne(t.Context(), db, ev, update, nil)
		testenv.NoError(t, err)
		file := store.Media{Job: ev.Job, Name: "thumbnail", URL: update.Media[1].URL}
		died := errors.New("died")
		for _, step := range []struct {
			object string
			err    error
			want   []string
		}{
			{"t.webp", died, nil},
			{"t.jpg", nil, []string{"t.webp"}},
		} {
			file.Object = step.object
			if _, err := db.StoreMedia(t.Context(), file, received, func() error { return step.err }); !errors.Is(err, step.err) {
				t.Errorf("%s: %v", step.object, err)
			}
			if got, err := db.DoomedObjects(t.Context(), received, later, 10); err != nil || !slices.Equal(got, step.want) {
				t.Errorf("%s dooms %q, %v; want %q", step.object, got, err, step.want)
			}
		}
		file.URL, file.Object = "https://cdn.example/t.png", "t.png"
		ev.ID, update.EventID, update.OccurredAt = "klingai:newer", "klingai:newer", update.OccurredAt.Add(time.Minute)
		update.Media = []tasks.MediaLink{{Name: "thumbnail", URL: file.URL}}
		_, err = recordOne(t.Context(), db, ev, update, nil)
		testenv.NoError(t, err)
		_, err = db.StoreMedia(t.Context(), file, received, func() error { return nil })
		testenv.NoError(t, err)
		if got, err := db.DoomedObjects(t.Context(), received, later, 10); err != nil || !slices.Equal(got, []string{"t.jpg"}) {
			t.Errorf("t.png dooms %q, %v", got, err)
		}
	})
}

// Several pruners at once and more rows than one batch.
func TestConcurrentPrunersDeleteEachRowOnce(t *testing.T) {
	const jobs = 350
	onBoth(t, func(t *testing.T, db *store.Store) {
		var list []store.Recording
		for i := range jobs {
			for _, kind := range []string{tasks.TypeProcessing, tasks.TypeCompleted} {
				ev := event(fmt.Sprintf("klingai:%s-%d", kind, i), kind)
				ev.Job = tasks.KlingJob(fmt.Sprintf("vid_%d", i))
				status := tasks.StatusProcessing
				if kind == tasks.TypeCompleted && i%2 == 0 { // the others are unfinished
					status = tasks.StatusCompleted
				}
				list = append(list, store.Recording{Event: ev, Update: &tasks.JobUpdate{Job: ev.Job, EventID: ev.ID, Status: status}})
			}
		}
		_, err := db.Record(t.Context(), list, received)
		testenv.NoError(t, err)
		results := make(chan store.Pruned, 3)
		for range cap(results) {
			go func() {
				got, err := db.Prune(t.Context(), store.Pruning{Retention: store.Retention{Events: days90, Jobs: days90}, Now: later})
				if err != nil {
					t.Error(err)
				}
				results <- got
			}()
		}
		var sum store.Pruned
		for range cap(results) {
			got := <-results
			sum.Events, sum.Jobs = sum.Events+got.Events, sum.Jobs+got.Jobs
		}
		if want := (store.Pruned{Events: jobs, Jobs: jobs / 2}); sum != want {
			t.Errorf("deleted %+v, want %+v", sum, want)
		}
		if left, err := db.Events(t.Context(), store.EventFilter{}); err != nil || len(left) != jobs {
			t.Errorf("%d events are left, %v", len(left), err)
		}
	})
}
