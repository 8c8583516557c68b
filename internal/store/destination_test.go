package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// tried records an attempt and returns its effect. An empty reason means success.
func tried(t *testing.T, db *store.Store, destination, notification string, at time.Time, reason string) store.Effect {
	t.Helper()
	effects, err := db.RecordAttempts(t.Context(), []store.SendAttempt{{Destination: destination, NotificationID: notification, At: at, Error: reason}})
	testenv.NoError(t, err)
	return effects[0]
}

// checkGate checks whether a message may be sent.
func checkGate(t *testing.T, db *store.Store, name string, at time.Time, want store.SendGate) {
	t.Helper()
	if got, err := db.GateOf(t.Context(), name, at); err != nil || got != want {
		t.Errorf("at %s the gate of %s is %d, %v; want %d", at.Sub(received), name, got, err, want)
	}
}

func TestDestinationIsPausedAfterADayOfFailures(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		after := received.Add
		const day = 24 * time.Hour
		for _, step := range []struct {
			at     time.Duration
			reason string
			want   store.Effect
		}{
			{0, "down", store.Effect{FailingSince: received}},
			{day - time.Second, "", store.Effect{}},
			{day, "down", store.Effect{FailingSince: after(day)}},
			{2*day - time.Second, "down", store.Effect{FailingSince: after(day)}},
			{2 * day, "down", store.Effect{FailingSince: after(day), Paused: true, Held: true}},
			{2*day + time.Second, "down", store.Effect{FailingSince: after(day), Held: true}},
		} {
			if diff := cmp.Diff(step.want, tried(t, db, "shop", "n", after(step.at), step.reason)); diff != "" {
				t.Errorf("after %s (-want +got):\n%s", step.at, diff)
			}
		}
		// Other destinations are not paused.
		checkGate(t, db, "crm", after(2*day), store.GateOpen)
		checkGate(t, db, "shop", after(2*day+59*time.Second), store.GateClosed)
		// One probe at a time, with growing waits.
		at := after(2*day + time.Minute)
		for _, wait := range []time.Duration{2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
			checkGate(t, db, "shop", at, store.GateProbe)
			checkGate(t, db, "shop", at, store.GateClosed)
			if effect := tried(t, db, "shop", "n", at, "down"); !effect.Held || effect.Paused {
				t.Errorf("a failed probe has the effect %+v", effect)
			}
			checkGate(t, db, "shop", at.Add(wait-time.Second), store.GateClosed)
			at = at.Add(wait)
		}
		paused, err := db.PausedDestinations(t.Context())
		if err != nil || len(paused) != 1 || paused[0].Name != "shop" || !paused[0].FailingSince.Equal(after(day)) || !paused[0].PausedAt.Equal(after(2*day)) {
			t.Errorf("paused are %+v, %v; want shop", paused, err)
		}
		if diff := cmp.Diff(store.Effect{Resumed: true}, tried(t, db, "shop", "n", at, "")); diff != "" {
			t.Errorf("a successful probe (-want +got):\n%s", diff)
		}
		checkGate(t, db, "shop", at, store.GateOpen)
	})
}

func TestOperatorsPauseLastsUntilResumed(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		if err := db.PauseDestination(ctx, "shop", received); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("pausing an unknown destination: %v", err)
		}
		testenv.NoError(t, db.ConfigureDestinations(ctx, []string{"shop"}, received))
		testenv.NoError(t, db.PauseDestination(ctx, "shop", received))
		checkGate(t, db, "shop", received.Add(1000*time.Hour), store.GateClosed)
		if effect := tried(t, db, "shop", "n", received, ""); effect.Resumed || !effect.Held {
			t.Errorf("a send from before the pause has the effect %+v", effect)
		}
		if paused, err := db.PausedDestinations(ctx); err != nil || len(paused) > 0 {
			t.Errorf("paused by failures are %+v, %v", paused, err)
		}
		testenv.NoError(t, db.ResumeDestination(ctx, "shop"))
		checkGate(t, db, "shop", received, store.GateOpen)
	})
}

func TestPausedDestinationsAreNotOwed(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		names := []string{"crm", "shop", "team"}
		testenv.NoError(t, db.ConfigureDestinations(ctx, names, received))
		var ids []string
		for i := range 3 {
			ev := event(fmt.Sprintf("klingai:%d", i), tasks.TypeFailed)
			ev.Job, ev.ReceivedAt = tasks.KlingJob(fmt.Sprintf("vid_%d", i)), received.Add(time.Duration(i)*time.Second)
			owed, err := recordOne(ctx, db, ev, nil, names)
			testenv.NoError(t, err)
			ids = append(ids, owed.Notifications[1].ID)
		}
		owed := func(now time.Time) map[string]int {
			counts := map[string]int{}
			for _, name := range all(t, 2, db.OwedNotifications(ctx, now, 2), func(n store.Notification) string { return n.Destination }) {
				counts[name]++
			}
			return counts
		}
		tried(t, db, "shop", ids[0], received, "down")
		tried(t, db, "shop", ids[0], received.Add(24*time.Hour), "down")
		testenv.NoError(t, db.ConfigureDestinations(ctx, names, received.Add(24*time.Hour)))
		now := received.Add(24*time.Hour + time.Minute)
		if diff := cmp.Diff(map[string]int{"crm": 3, "team": 3}, owed(now)); diff != "" {
			t.Errorf("owed while shop is paused (-want +got):\n%s", diff)
		}
		if n, err := db.CountPending(ctx, "shop"); err != nil || n != 3 {
			t.Errorf("%d, %v notifications wait for shop, want 3", n, err)
		}
		// Probes alternate between the oldest and the newest.
		for _, want := range []string{ids[0], ids[2], ids[0]} {
			due, err := db.DueProbes(ctx, now)
			if err != nil || len(due) != 1 || due[0].ID != want {
				t.Fatalf("due probes %+v, %v; want %s", due, err, want)
			}
			checkGate(t, db, "shop", now, store.GateProbe)
			if due, err := db.DueProbes(ctx, now); err != nil || len(due) > 0 {
				t.Errorf("due probes %+v, %v right after one", due, err)
			}
			now = now.Add(time.Hour)
		}
		tried(t, db, "shop", ids[0], now, "")
		if diff := cmp.Diff(map[string]int{"crm": 3, "shop": 2, "team": 3}, owed(now)); diff != "" {
			t.Errorf("owed after the probe (-want +got):\n%s", diff)
		}
	})
}

func TestUnconfiguredDestinationIsForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		ev := event("klingai:1", tasks.TypeFailed)
		owed, err := recordOne(ctx, db, ev, nil, []string{"shop"})
		testenv.NoError(t, err)
		names := func() (names []string) {
			list, err := db.Destinations(ctx)
			testenv.NoError(t, err)
			for _, d := range list {
				names = append(names, d.Name)
			}
			return names
		}
		testenv.NoError(t, db.ConfigureDestinations(ctx, []string{"crm", "shop"}, received))
		testenv.NoError(t, db.PauseDestination(ctx, "shop", received))
		tried(t, db, "crm", "n", received, "")
		later := received.Add(24*time.Hour + time.Minute)
		testenv.NoError(t, db.ConfigureDestinations(ctx, []string{"team"}, later))
		if diff := cmp.Diff([]string{"shop", "team"}, names()); diff != "" {
			t.Errorf("destinations (-want +got):\n%s", diff)
		}
		if got := all(t, 1, db.OwedNotifications(ctx, later, 1), func(n store.Notification) string { return n.ID }); len(got) != 1 {
			t.Errorf("owed are %q, want the notification that no worker can send", got)
		}
		testenv.NoError(t, db.NotificationFailed(ctx, owed.Notifications[0].ID, "no longer configured", later))
		testenv.NoError(t, db.ConfigureDestinations(ctx, []string{"team"}, later))
		if diff := cmp.Diff([]string{"shop", "team"}, names()); diff != "" {
			t.Errorf("destinations while an operator's pause lasts (-want +got):\n%s", diff)
		}
		testenv.NoError(t, db.ResumeDestination(ctx, "shop"))
		testenv.NoError(t, db.ConfigureDestinations(ctx, []string{"team"}, later))
		if diff := cmp.Diff([]string{"team"}, names()); diff != "" {
			t.Errorf("destinations at the end (-want +got):\n%s", diff)
		}
		if attempts, err := db.AttemptsAt(ctx, "crm", 0); err != nil || len(attempts) > 0 {
			t.Errorf("attempts %+v, %v of a forgotten destination", attempts, err)
		}
	})
}

func TestLatestAttemptsAreKept(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := t.Context()
		var list []store.SendAttempt
		const n = 2*store.KeptAttempts + 30
		for i := range n {
			list = append(list, store.SendAttempt{
				NotificationID: fmt.Sprintf("ntf_%d", i), Destination: []string{"crm", "shop"}[i%2], At: received.Add(time.Duration(i) * time.Second),
				Duration: 1500 * time.Millisecond, Status: 200 + i%300, Answer: "ok\x00 \xff", Error: []string{"", "", "busy"}[i%3],
			})
		}
		list[n-1].Answer = strings.Repeat("é", 600)
		for _, batch := range [][]store.SendAttempt{list[:5], list[5:6], list[6:]} {
			_, err := db.RecordAttempts(ctx, batch)
			testenv.NoError(t, err)
		}
		kept, err := db.AttemptsAt(ctx, "shop", 0)
		testenv.NoError(t, err)
		if len(kept) != store.KeptAttempts {
			t.Fatalf("%d attempts are kept, want %d", len(kept), store.KeptAttempts)
		}
		if answer := kept[0].Answer; answer != strings.Repeat("é", 512) {
			t.Errorf("the answer %q is not cut to a KiB", answer)
		}
		for i, attempt := range kept {
			want := list[n-1-2*i]
			if want.Answer = "ok \uFFFD"; i == 0 {
				want.Answer = attempt.Answer
			}
			if diff := cmp.Diff(want, attempt, cmpopts.EquateApproxTime(time.Microsecond)); diff != "" {
				t.Errorf("attempt %d (-want +got):\n%s", i, diff)
			}
		}
		if latest, err := db.AttemptsAt(ctx, "crm", 1); err != nil || len(latest) != 1 || latest[0].NotificationID != list[n-2].NotificationID {
			t.Errorf("the latest attempt is %+v, %v", latest, err)
		}
	})
}
