package ingest_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

func TestObserverGetsDeliveriesInsteadOfTheLog(t *testing.T) {
	var seen []ingest.Delivery
	f := newFixture(t, 1<<20, func(c *ingest.Config) { c.Observe = func(d ingest.Delivery) { seen = append(seen, d) } })
	for _, signature := range []string{"sha256=" + sign(secret, created), "sha256=" + sign("guess", created)} {
		r := post(created, signature)
		r.RemoteAddr = "192.0.2.1:1234"
		f.do(r)
	}
	want := []ingest.Delivery{
		{Source: "klingai", Status: http.StatusOK, Outcome: "accepted", Type: "video.created", Job: tasks.KlingJob("vid_1"), Peer: "192.0.2.1:1234"},
		{Source: "klingai", Status: http.StatusUnauthorized, Outcome: "invalid_signature", Peer: "192.0.2.1:1234"},
	}
	if diff := cmp.Diff(want, seen, cmpopts.IgnoreFields(ingest.Delivery{}, "EventID", "Reason", "Took")); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
	if len(seen) == 2 && (seen[0].EventID == "" || seen[0].Reason != nil || !strings.Contains(seen[1].Reason.Error(), "signature does not match; ")) {
		t.Errorf("seen %+v", seen)
	}
	if n := f.logs.FilterMessageSnippet("delivery").Len(); n != 0 {
		t.Errorf("%d lines were logged", n)
	}
}

func TestOnlyAcceptedTestDeliveriesAreNoted(t *testing.T) {
	var noted []tasks.TestDelivery
	full := errors.New("the spool is full")
	var problem error
	f := newFixture(t, 1<<20, func(c *ingest.Config) {
		c.Tested = func(_ context.Context, delivery tasks.TestDelivery) { noted = append(noted, delivery) }
		c.Check = func(context.Context) error { return problem }
	})
	body := string(source.TestDelivery(time.Now()))
	f.do(post(body, "sha256="+sign(secret, body)))
	f.do(post(body, "sha256="+sign("guess", body)))
	problem = full
	f.do(post(body, "sha256="+sign(secret, body)))
	f.do(post(created, "sha256="+sign(secret, created)))
	if want := []tasks.TestDelivery{{Source: "klingai", At: f.now.UTC()}}; !slices.Equal(noted, want) {
		t.Errorf("noted are %v, want %v", noted, want)
	}
}

func TestOnlyRepeatedEventsAreNoted(t *testing.T) {
	var noted []string
	f := newFixture(t, 1<<20, func(c *ingest.Config) {
		c.Repeated = func(_ context.Context, eventID string, _ time.Time) { noted = append(noted, eventID) }
	})
	for _, duplicate := range []bool{false, true} {
		f.queue.answer = func(context.Context) (bool, error) { return duplicate, nil }
		f.do(post(created, "sha256="+sign(secret, created)))
	}
	if want := []string{tasks.EventID("klingai", "", []byte(created))}; !slices.Equal(noted, want) {
		t.Errorf("noted are %q, want %q", noted, want)
	}
}
