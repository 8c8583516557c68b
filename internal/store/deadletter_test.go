package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func dead(id, job, text string, minute int) store.DeadLetter {
	return store.DeadLetter{
		Task: tasks.Task{Kind: tasks.KindMediaDownload, ID: id, Payload: []byte(`{"job_id":"` + job + `"}`)},
		Job:  tasks.KlingJob(job), Error: text, FailedAt: received.Add(time.Duration(minute) * time.Minute),
	}
}

func TestDeadLetterOfTaskThatFailedAgainStaysOpen(t *testing.T) {
	const first, second, done, replayed, discarded = "first", "second", "done", "replayed", "discarded"
	tests := []struct {
		name  string
		steps []string // after the first burial
		want  []string
	}{
		{"closed once", []string{replayed, discarded}, []string{"first replayed 1"}},
		{"dies again after its replay", []string{replayed, second}, []string{"first replayed 1", "second dead 1"}},
		{"failed again since it was seen", []string{second, second, replayed}, []string{"second dead 2"}},
		// A worker may finish the replayed task before the replay is recorded.
		{"done, then replayed", []string{done, replayed}, []string{"first replayed 1"}},
		{"done, then discarded", []string{done, discarded}, []string{"first done 1"}},
	}
	onBoth(t, func(t *testing.T, db *store.Store) {
		for _, tt := range tests {
			bury := func(text string, minute int) {
				d := dead(tt.name, tt.name, text, minute)
				d.Failures = []store.Failure{{Attempt: 1, At: d.FailedAt, Error: text}}
				testenv.NoError(t, db.Bury(t.Context(), d))
			}
			bury(first, 1)
			filter := store.DeadLetterFilter{Job: tasks.KlingJob(tt.name), Ended: true}
			seen, err := db.DeadLetters(t.Context(), filter)
			testenv.NoError(t, err)
			for _, step := range tt.steps {
				switch step {
				case second:
					bury(second, 2)
				case done:
					testenv.NoError(t, db.EndDeadLetterOf(t.Context(), tt.name, received))
				default:
					testenv.NoError(t, db.EndDeadLetter(t.Context(), seen[0], store.DeadLetterState(step), received))
				}
			}
			list, err := db.DeadLetters(t.Context(), filter)
			testenv.NoError(t, err)
			var got []string
			for _, d := range list {
				got = append(got, fmt.Sprintf("%s %s %d", d.Error, d.State, len(d.Failures)))
				if (d.State == store.DeadLetterDead) != d.EndedAt.IsZero() {
					t.Errorf("%s: %s dead letter ended at %s", tt.name, d.State, d.EndedAt)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	})
}

func TestDeadLetterFilter(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		for i, d := range []store.DeadLetter{
			dead("a", "vid_1", "404 Not Found", 0), dead("b", "vid_1", "timeout", 10), dead("c", "vid_2", "100% full_disk", 20), dead("d", "vid_2", "timeout", 30),
		} {
			d.Failures = []store.Failure{{Attempt: 1, At: received, Error: d.Error}}
			if i == 3 {
				d.Task.Kind = tasks.KindNotifySend
			}
			testenv.NoError(t, db.Bury(ctx, d))
		}
		ended := dead("b", "vid_1", "timeout", 10)
		ended.ID = 2
		testenv.NoError(t, db.EndDeadLetter(ctx, ended, store.DeadLetterDiscarded, received))
		tests := []struct {
			name   string
			filter store.DeadLetterFilter
			want   []int64
		}{
			{"open", store.DeadLetterFilter{}, []int64{1, 3, 4}},
			{"ended too", store.DeadLetterFilter{Ended: true}, []int64{1, 2, 3, 4}},
			{"by id", store.DeadLetterFilter{IDs: []int64{4, 1, 99}}, []int64{1, 4}},
			{"by job", store.DeadLetterFilter{Job: tasks.KlingJob("vid_2")}, []int64{3, 4}},
			{"by kind", store.DeadLetterFilter{Kind: tasks.KindNotifySend}, []int64{4}},
			{"by error", store.DeadLetterFilter{Error: "time"}, []int64{4}},
			{"error with wildcards", store.DeadLetterFilter{Error: "% full_"}, []int64{3}},
			{"since", store.DeadLetterFilter{Since: received.Add(20 * time.Minute)}, []int64{3, 4}},
			{"before", store.DeadLetterFilter{Before: received.Add(20 * time.Minute)}, []int64{1}},
			{"a page", store.DeadLetterFilter{After: 1, Limit: 1}, []int64{3}},
			{"none", store.DeadLetterFilter{Job: tasks.KlingJob("vid_3")}, nil},
			{"in outline", store.DeadLetterFilter{Kind: tasks.KindNotifySend, Outline: true}, []int64{4}},
			{"in outline with failures", store.DeadLetterFilter{Kind: tasks.KindNotifySend, Outline: true, Failures: true}, []int64{4}},
		}
		for _, tt := range tests {
			list, err := db.DeadLetters(ctx, tt.filter)
			testenv.NoError(t, err)
			var got []int64
			for _, d := range list {
				got = append(got, d.ID)
				if large := len(d.Task.Payload) > 0 && len(d.Failures) > 0; large == tt.filter.Outline {
					t.Errorf("%s: dead letter %d has payload %q and failures %v", tt.name, d.ID, d.Task.Payload, d.Failures)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	})
}

func TestReopen(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ev, update := completed()
		owed, err := recordOne(ctx, db, ev, update, []string{"slack-1"})
		testenv.NoError(t, err)
		id := owed.Notifications[0].ID
		for _, m := range owed.Media {
			_, err := db.MediaFailed(ctx, m, "404", received)
			testenv.NoError(t, err)
		}
		testenv.NoError(t, db.NotificationFailed(ctx, id, "410", received))
		testenv.NoError(t, db.ReopenMedia(ctx, tasks.KlingJob("vid_1"), "video", received))
		testenv.NoError(t, db.ReopenNotification(ctx, id, received))
		video, err1 := db.Medium(ctx, tasks.KlingJob("vid_1"), "video")
		thumbnail, err2 := db.Medium(ctx, tasks.KlingJob("vid_1"), "thumbnail")
		n, err3 := db.Notification(ctx, id)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
		if video.State != store.MediaPending || thumbnail.State != store.MediaFailed || n.State != store.NotificationPending {
			t.Errorf("video %s, thumbnail %s, notification %s; want pending, failed, pending", video.State, thumbnail.State, n.State)
		}
	})
}
