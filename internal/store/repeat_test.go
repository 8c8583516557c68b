package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestRepeatedNotificationIsANewOne(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ev, update := completed()
		owed, err := recordOne(ctx, db, ev, update, []string{"crm", "shop", "slack-1"})
		testenv.NoError(t, err)
		testenv.NoError(t, sent(ctx, db, owed.Notifications[0].ID))
		testenv.NoError(t, db.NotificationFailed(ctx, owed.Notifications[1].ID, "gone", received))
		job, err := db.Job(ctx, ev.Job)
		testenv.NoError(t, err)
		pending := owed.Notifications[2].Destination
		for _, tt := range []struct {
			destinations []string
			want         int
		}{{nil, 2}, {[]string{pending}, 0}, {[]string{"new"}, 1}, {[]string{"new"}, 0}} {
			list, err := db.RepeatNotifications(ctx, job, tt.destinations, received.Add(time.Hour))
			if err != nil || len(list) != tt.want {
				t.Fatalf("repeated for %q are %+v, %v; want %d", tt.destinations, list, err, tt.want)
			}
			for _, n := range list {
				got, err := db.Notification(ctx, n.ID)
				testenv.NoError(t, err)
				if diff := cmp.Diff(n, got, cmpopts.EquateApproxTime(time.Microsecond)); diff != "" {
					t.Errorf("notification (-returned +stored):\n%s", diff)
				}
				if n.State != store.NotificationPending || n.Type != tasks.TypeCompleted || n.Error != "" || !n.CreatedAt.Equal(received) || n.Destination == pending ||
					slices.ContainsFunc(owed.Notifications, func(o store.Notification) bool { return o.ID == n.ID }) {
					t.Errorf("repeated is %+v", n)
				}
			}
		}
	})
}

func TestJobKeysAreSelected(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		for i := range 4 {
			_, err := db.Track(ctx, tasks.KlingJob(fmt.Sprint(i)), tasks.Metadata{}, received.Add(time.Duration(i)*time.Hour))
			testenv.NoError(t, err)
		}
		for name, tt := range map[string]struct {
			filter store.JobFilter
			want   []string
		}{
			"all":      {store.JobFilter{}, []string{"0", "1", "2", "3"}},
			"time":     {store.JobFilter{Since: received.Add(time.Hour), Before: received.Add(3 * time.Hour)}, []string{"1", "2"}},
			"ids":      {store.JobFilter{IDs: []string{"3", "1", "9"}, Platform: tasks.PlatformKling}, []string{"1", "3"}},
			"status":   {store.JobFilter{Status: tasks.StatusFailed}, nil},
			"platform": {store.JobFilter{Platform: "other"}, nil},
		} {
			keys, err := db.JobKeys(ctx, tt.filter)
			testenv.NoError(t, err)
			var got []string
			for _, key := range keys {
				got = append(got, key.ID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}
