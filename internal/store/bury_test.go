package store_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// letters returns all dead letters, by id.
func letters(t *testing.T, db *store.Store) []store.DeadLetter {
	t.Helper()
	list, err := db.DeadLetters(t.Context(), store.DeadLetterFilter{Ended: true})
	testenv.NoError(t, err)
	return list
}

// states returns the states of all dead letters, by task.
func states(t *testing.T, db *store.Store) map[string]store.DeadLetterState {
	t.Helper()
	got := map[string]store.DeadLetterState{}
	for _, d := range letters(t, db) {
		got[d.Task.ID] = d.State
	}
	return got
}

func TestBuryingTasksAgainKeepsTheirFailures(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		const n = 500
		var many []store.DeadLetter
		for i := range n {
			id := fmt.Sprintf("task-%03d", i)
			many = append(many, dead(id, "vid_"+id, "gone", 1))
			testenv.NoError(t, db.RecordAttempt(t.Context(), store.TaskAttempt{TaskID: id, Number: 1, At: received, Error: "busy " + id}))
		}
		for range 2 {
			testenv.NoError(t, db.Bury(t.Context(), many...))
		}
		if err := db.Bury(t.Context()); err != nil {
			t.Errorf("burying none: %v", err)
		}
		got := letters(t, db)
		slices.SortFunc(got, func(a, b store.DeadLetter) int { return cmp.Compare(a.Task.ID, b.Task.ID) })
		for i := range many {
			many[i].ID, many[i].State, many[i].Cause = got[i].ID, store.DeadLetterDead, "gone"
			many[i].Failures = []store.Failure{{Attempt: 1, At: received, Error: "busy " + many[i].Task.ID}}
		}
		if diff := gocmp.Diff(many, got); diff != "" {
			t.Errorf("dead letters (-want +got):\n%s", diff)
		}
	})
}

func TestTextThatPostgresRejectsCanBeBuried(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		odd := store.DeadLetter{Task: tasks.Task{Kind: "a\x00\xff", ID: "b\x00\xff"}, Job: tasks.KlingJob("c\x00"), EventID: "\xff", Error: "d\x00", FailedAt: received}
		testenv.NoError(t, db.RecordAttempt(t.Context(), store.TaskAttempt{TaskID: odd.Task.ID, Number: 1, At: received, Error: "e\x00"}))
		testenv.NoError(t, db.Bury(t.Context(), odd, dead("task-1", "vid_1", "gone", 0)))
		buried, err := db.Buried(t.Context(), []string{odd.Task.ID, "task-1", "task-2"})
		if err != nil || !buried[odd.Task.ID] || !buried["task-1"] || buried["task-2"] {
			t.Errorf("buried %v, %v; want both", buried, err)
		}
		testenv.NoError(t, db.EndDeadLetterOf(t.Context(), odd.Task.ID, received))
		if got := letters(t, db); got[0].State != store.DeadLetterDone || len(got[0].Failures) != 1 {
			t.Errorf("dead letter %+v, want it done and with its note", got[0])
		}
	})
}

// buryOf buries the task that a constructor returns.
func buryOf(t *testing.T, db *store.Store, job tasks.JobKey, eventID string) func(tasks.Task, error) string {
	return func(task tasks.Task, err error) string {
		t.Helper()
		if err == nil {
			err = db.Bury(t.Context(), store.DeadLetter{Task: task, Job: job, EventID: eventID, Error: "gone", FailedAt: received})
		}
		testenv.NoError(t, err)
		return task.ID
	}
}

func TestDeadLetterIsClosedWhenItsWorkIsDone(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ev, update := completed()
		owed, err := recordOne(ctx, db, ev, update, []string{"slack-1"})
		testenv.NoError(t, err)
		letter := buryOf(t, db, ev.Job, "")
		var media []string
		for _, m := range owed.Media {
			media = append(media, letter(tasks.DownloadMedia(m.Job, m.Name, m.URL)))
		}
		if len(media) != 2 || owed.Media[1].Name != "video" {
			t.Fatalf("media %+v, want a thumbnail and a video", owed.Media)
		}
		event := buryOf(t, db, ev.Job, ev.ID)(tasks.RecordEvent(ev))
		notification := letter(tasks.SendNotification(owed.Notifications[0].ID, ev.Job))
		rejected := tasks.Rejection{ID: "rej_1", ReceivedAt: received}
		rejection := letter(tasks.KeepRejection(rejected))

		steps := []struct {
			name string
			do   func() error
			want []string
		}{
			{"nothing", func() error { return nil }, nil},
			{"the event is processed", func() error { return db.MarkProcessed(ctx, []string{ev.ID}, received) }, []string{event}},
			{"the notification is sent", func() error { return sent(ctx, db, owed.Notifications[0].ID) }, []string{notification}},
			{"the rejection is kept", func() error { return db.KeepRejection(ctx, rejected) }, []string{rejection}},
			{"the video is stored", func() error {
				_, err := db.StoreMedia(ctx, owed.Media[1], received, func() error { return nil })
				return err
			}, []string{media[1]}},
			{"nothing more", func() error { return nil }, nil},
		}
		for _, step := range steps {
			testenv.NoError(t, step.do())
			ended, err := db.EndDone(ctx, received.Add(time.Hour))
			testenv.NoError(t, err)
			var ids []string
			for _, task := range ended {
				ids = append(ids, task.ID)
			}
			if diff := gocmp.Diff(step.want, ids); diff != "" {
				t.Errorf("%s: ended (-want +got):\n%s", step.name, diff)
			}
		}
		if got := states(t, db)[media[0]]; got != store.DeadLetterDead {
			t.Errorf("the thumbnail's dead letter is %s although it is not stored", got)
		}
	})
}
