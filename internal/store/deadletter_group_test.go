package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestDeadLettersAreGroupedByCause(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for i := range 5 {
			text := "cdn.example answered 404 Not Found"
			if i%2 == 1 {
				text = fmt.Sprintf("sent %d of 900 bytes", i)
			}
			testenv.NoError(t, db.Bury(t.Context(), dead(fmt.Sprintf("task-%d", i), fmt.Sprintf("Vid_%d", i), text, i)))
		}
		testenv.NoError(t, db.Bury(t.Context(), dead("task-5", "Vid_5", "sent 7 of 900 bytes", 5)))
		all := letters(t, db)
		testenv.NoError(t, db.EndDeadLetter(t.Context(), all[len(all)-1], store.DeadLetterDiscarded, received))

		groups, err := db.DeadLetterGroups(t.Context(), store.DeadLetterFilter{})
		testenv.NoError(t, err)
		want := []store.DeadLetterGroup{
			{Cause: "cdn.example answered 404 Not Found", Kind: tasks.KindMediaDownload, Count: 3, Newest: received.Add(4 * time.Minute), Example: all[4]},
			{Cause: "sent <n> of <n> bytes", Kind: tasks.KindMediaDownload, Count: 2, Newest: received.Add(3 * time.Minute), Example: all[3]},
		}
		for i := range want {
			want[i].Example.Task.Payload = nil
		}
		if diff := gocmp.Diff(want, groups, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("groups (-want +got):\n%s", diff)
		}

		tests := []struct {
			name   string
			filter store.DeadLetterFilter
			want   []string
		}{
			{"of a cause", store.DeadLetterFilter{Cause: "sent <n> of <n> bytes"}, []string{"task-1", "task-3"}},
			{"newest first", store.DeadLetterFilter{Newest: true}, []string{"task-4", "task-3", "task-2", "task-1", "task-0"}},
			{"next page", store.DeadLetterFilter{Newest: true, Below: all[3].ID, Limit: 2}, []string{"task-2", "task-1"}},
			{"text of an error", store.DeadLetterFilter{Text: "not found"}, []string{"task-0", "task-2", "task-4"}},
			{"text of a job", store.DeadLetterFilter{Text: "vID_3"}, []string{"task-3"}},
			{"text of a task", store.DeadLetterFilter{Text: "TASK-5", Ended: true}, []string{"task-5"}},
			{"text with wildcards", store.DeadLetterFilter{Text: "%"}, nil},
		}
		for _, tt := range tests {
			list, err := db.DeadLetters(t.Context(), tt.filter)
			var got []string
			for _, letter := range list {
				got = append(got, letter.Task.ID)
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
			}
		}
	})
}
