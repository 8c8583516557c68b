package tasks_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestLatestRepeatsAreRemembered(t *testing.T) {
	server, rdb := startRedis(t)
	start := time.Date(2026, 1, 15, 10, 25, 0, 0, time.UTC)
	want := map[string][]time.Time{"often": nil, "once": {start}}
	testenv.NoError(t, tasks.NoteRepeat(t.Context(), rdb, "once", start))
	for i := range 25 {
		at := start.Add(time.Duration(i) * time.Second)
		testenv.NoError(t, tasks.NoteRepeat(t.Context(), rdb, "often", at))
		if i >= 5 {
			want["often"] = append(want["often"], at)
		}
	}
	ids := []string{"often", "never", "once"}
	got, err := tasks.RepeatsOf(t.Context(), rdb, ids)
	testenv.NoError(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("repeats (-want +got):\n%s", diff)
	}
	testenv.NoError(t, tasks.ForgetRepeats(t.Context(), rdb, ids[:2]))
	if server.Exists("klinghook:repeats:often") || server.TTL("klinghook:repeats:once") != 30*24*time.Hour {
		t.Errorf("keys %q are left, want one for 30 days", server.Keys())
	}
}
