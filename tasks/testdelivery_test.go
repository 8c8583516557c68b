package tasks_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestLastTestDeliveryIsRemembered(t *testing.T) {
	server, rdb := startRedis(t)
	check := func(want *tasks.TestDelivery) {
		t.Helper()
		got, err := tasks.LastTestDelivery(t.Context(), rdb)
		testenv.NoError(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	check(nil)
	last := tasks.TestDelivery{Source: "klingai", At: time.Date(2026, 1, 15, 10, 25, 0, 1000, time.UTC)}
	testenv.NoError(t, tasks.NoteTestDelivery(t.Context(), rdb, tasks.TestDelivery{Source: "klingai-official", At: last.At.Add(-time.Hour)}))
	testenv.NoError(t, tasks.NoteTestDelivery(t.Context(), rdb, last))
	check(&last)
	server.FastForward(31 * 24 * time.Hour)
	check(nil)
}
