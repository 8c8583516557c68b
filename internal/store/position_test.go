package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// Many events and rejections arrive in the same instant; no page repeats or skips one.
func TestPagesOfEventsAndRejections(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		var want []string
		for i := range 7 {
			ev := event(fmt.Sprintf("e.%d", i), tasks.TypeCreated)
			ev.ReceivedAt = received.Add(time.Duration(i/3) * time.Second)
			keepEvent(t, db, ev)
			testenv.NoError(t, db.KeepRejection(t.Context(), tasks.Rejection{ID: ev.ID, ReceivedAt: ev.ReceivedAt, Source: "klingai", Reason: "malformed"}))
			want = append(want, ev.ID)
		}
		slices.Reverse(want)
		var events, rejections []string
		var at store.Position
		for {
			page, err := db.ListEvents(t.Context(), store.EventQuery{Before: at, Limit: 2})
			testenv.NoError(t, err)
			for _, ev := range page {
				events = append(events, ev.ID)
				if ev.Body != nil || ev.Size != int64(len(event("", tasks.TypeCreated).Body)) {
					t.Errorf("event %s has %d bytes of body and size %d", ev.ID, len(ev.Body), ev.Size)
				}
			}
			if len(page) == 0 {
				break
			}
			at, err = store.ParsePosition(page[len(page)-1].Position().String())
			testenv.NoError(t, err)
		}
		for at = (store.Position{}); ; {
			page, err := db.Rejections(t.Context(), store.RejectionFilter{Before: at, Limit: 2})
			testenv.NoError(t, err)
			if len(page) == 0 {
				break
			}
			for _, rejection := range page {
				rejections = append(rejections, rejection.ID)
				at = store.Position{At: rejection.ReceivedAt, ID: rejection.ID}
			}
		}
		if !slices.Equal(events, want) || !slices.Equal(rejections, want) {
			t.Errorf("events %q, rejections %q, want %q", events, rejections, want)
		}
	})
}

func TestEventsAreSelected(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for i, kind := range []string{tasks.TypeCreated, tasks.TypeCompleted} {
			ev := event(kind, kind)
			ev.ReceivedAt = received.Add(time.Duration(i) * time.Minute)
			keepEvent(t, db, ev)
		}
		testenv.NoError(t, db.MarkProcessed(t.Context(), []string{tasks.TypeCreated}, received))
		for name, tt := range map[string]struct {
			query store.EventQuery
			want  int
		}{
			"all":         {store.EventQuery{}, 2},
			"job":         {store.EventQuery{Job: tasks.KlingJob("vid_1")}, 2},
			"other job":   {store.EventQuery{Job: tasks.KlingJob("no")}, 0},
			"type":        {store.EventQuery{Type: tasks.TypeCompleted}, 1},
			"source":      {store.EventQuery{Source: "klingai"}, 2},
			"unprocessed": {store.EventQuery{Unprocessed: true}, 1},
			"since":       {store.EventQuery{Since: received.Add(time.Second)}, 1},
			"until":       {store.EventQuery{Until: received}, 0},
		} {
			if list, err := db.ListEvents(t.Context(), tt.query); err != nil || len(list) != tt.want {
				t.Errorf("%s: %d events, %v, want %d", name, len(list), err, tt.want)
			}
		}
	})
}

func TestParsePositionRefusesOtherText(t *testing.T) {
	for _, text := range []string{"x", "1", "1x.a", "."} {
		if _, err := store.ParsePosition(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	if p, err := store.ParsePosition(""); err != nil || !p.IsZero() {
		t.Errorf("empty text: %v, %v", p, err)
	}
}
