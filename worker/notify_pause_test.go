package worker_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker/notify"
)

// shop is a destination beside the receiver of the fixture.
type shop struct {
	*lookupFixture
	down     atomic.Bool
	requests atomic.Int32
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{lookupFixture: newLookupFixture(t, miniredis.RunT(t).Addr())}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if s.down.Load() {
			http.Error(w, "closed for today", http.StatusBadGateway)
			return
		}
		s.take(w, r)
	}))
	t.Cleanup(srv.Close)
	const secret = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0"
	notifier, err := notify.New(notify.Config{Events: []string{tasks.TypeFailed}, Named: []notify.Destination{
		{Name: "crm", URL: s.receiver, Secret: secret}, {Name: "shop", URL: srv.URL, Secret: secret},
	}})
	testenv.NoError(t, err)
	t.Cleanup(notifier.Close)
	s.cfg.Notify = notifier
	s.renew(t)
	return s
}

// check checks the requests to the shop, and how many notifications for it are pending.
func (s *shop) check(t *testing.T, when string, requests int32, pending int) {
	t.Helper()
	n, err := s.store.CountPending(t.Context(), "shop")
	testenv.NoError(t, err)
	if got := s.requests.Load(); got != requests || n != pending {
		t.Errorf("%s: %d requests and %d pending notifications, want %d and %d", when, got, n, requests, pending)
	}
}

func TestDestinationThatFailsForADayIsPausedAndResumes(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.down.Store(true)
	s.deliverSeed(t, tasks.TypeFailed, "vid_1", `,"error":"no"`)
	s.work(t)
	s.check(t, "the first failure", 1, 1)

	s.pass(store.PauseAfter)
	s.runRetries(t, tasks.QueueNotify)
	s.work(t)
	s.check(t, "the failure a day later", 2, 1)
	if entries := s.logs.FilterField(zap.String("destination", "shop")).All(); len(entries) != 1 || entries[0].Level.String() != "error" {
		t.Errorf("log entries %+v, want one error", entries)
	}

	s.deliverSeed(t, tasks.TypeFailed, "vid_2", `,"error":"no"`)
	s.work(t)
	s.check(t, "another event", 2, 2)
	s.sweep(t)
	if report, found, err := tasks.ReadWork(t.Context(), s.redis); err != nil || !found || !slices.Equal(report.Paused, []string{"shop"}) {
		t.Errorf("the report has the paused destinations %q (found: %t), %v; want shop", report.Paused, found, err)
	}
	s.work(t)
	s.check(t, "a sweep", 2, 2)

	s.pass(time.Minute)
	s.sweep(t)
	s.work(t)
	s.check(t, "a probe that fails", 3, 2)

	s.down.Store(false)
	s.pass(2 * time.Minute)
	s.sweep(t)
	s.work(t)
	s.check(t, "a probe that succeeds", 4, 1)
	s.sweep(t)
	s.work(t)
	s.check(t, "the sweep after it", 5, 0)
	s.checkLetters(t, 0)
	for id, messages := range s.forwarded {
		if len(messages) != 1 {
			t.Errorf("%s was sent %d times", id, len(messages))
		}
	}
	if len(s.forwarded) != 4 {
		t.Errorf("%d notifications were sent, want 2 to each destination", len(s.forwarded))
	}

	attempts, err := s.store.AttemptsAt(t.Context(), "shop", 0)
	testenv.NoError(t, err)
	var statuses []int
	for _, attempt := range attempts {
		statuses = append(statuses, attempt.Status)
	}
	if len(attempts) != 5 || attempts[4].Answer != "closed for today\n" || attempts[4].Error == "" || attempts[0].Error != "" {
		t.Errorf("attempts %+v with the statuses %v", attempts, statuses)
	}
}

func TestOperatorsPauseHoldsNotifications(t *testing.T) {
	s := newShop(t)
	testenv.NoError(t, s.store.ConfigureDestinations(t.Context(), s.cfg.Notify.Names(), s.clock()))
	testenv.NoError(t, s.store.PauseDestination(t.Context(), "shop", s.clock()))
	s.deliverSeed(t, tasks.TypeFailed, "vid_1", `,"error":"no"`)
	s.work(t)
	s.pass(1000 * time.Hour)
	s.sweep(t)
	s.work(t)
	s.check(t, "while paused", 0, 1)
	testenv.NoError(t, s.store.ResumeDestination(t.Context(), "shop"))
	s.sweep(t)
	s.work(t)
	s.check(t, "resumed", 1, 0)
}
