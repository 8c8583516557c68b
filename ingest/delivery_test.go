package ingest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/klinghook/klinghook/ingest"
)

// TestObserve holds what is told of deliveries where somebody looks on, and that the
// log is not told of them.
func TestObserve(t *testing.T) {
	var told []ingest.Delivery
	f := newFixture(t, 1<<20, func(c *ingest.Config) { c.Observe = func(d ingest.Delivery) { told = append(told, d) } })
	for _, signature := range []string{"sha256=" + sign(secret, created), "sha256=" + sign("guess", created)} {
		r := post(created, signature)
		r.RemoteAddr = "192.0.2.1:1234"
		f.do(r)
	}
	want := []ingest.Delivery{
		{Source: "klingai", Status: http.StatusOK, Outcome: "accepted", Type: "video.created", JobID: "vid_1", Peer: "192.0.2.1:1234"},
		{Source: "klingai", Status: http.StatusUnauthorized, Outcome: "invalid_signature", Peer: "192.0.2.1:1234"},
	}
	if diff := cmp.Diff(want, told, cmpopts.IgnoreFields(ingest.Delivery{}, "EventID", "Reason", "Took")); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if len(told) == 2 && (told[0].EventID == "" || told[0].Reason != nil || !strings.Contains(told[1].Reason.Error(), "signature does not match; ")) {
		t.Errorf("told %+v", told)
	}
	if n := f.logs.FilterMessageSnippet("delivery").Len(); n != 0 {
		t.Errorf("the log was told %d times", n)
	}
}
