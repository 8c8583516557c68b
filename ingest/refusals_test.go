package ingest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestRefusedListsWhatAnOperatorShouldKnow(t *testing.T) {
	f := newFixture(t, 1<<20)
	deliver := func(signature, body string) {
		r := httptest.NewRequest(http.MethodPost, "/webhooks/klingai", strings.NewReader(body))
		if signature != "" {
			r.Header.Set("X-Kling-Signature", signature)
		}
		f.do(r)
	}
	wrong, right := sign("other", created), sign(secret, created)
	check := func(name string, want ...tasks.Refusal) {
		t.Helper()
		if diff := cmp.Diff(want, f.server.Refused()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	deliver("", created)
	deliver(sign(secret, `{`), `{`)
	check("strangers and wrong bodies do not count")
	for range 3 {
		deliver(wrong, created)
		f.now = f.now.Add(time.Minute)
	}
	check("wrong signatures", tasks.Refusal{Source: "klingai", Reason: "invalid_signature", Count: 3, Lasted: 2 * time.Minute})
	deliver(right, created)
	check("a right signature ends them")
	f.queue.answer = func(context.Context) (bool, error) { return false, errors.New("away") }
	deliver(right, created)
	f.now = f.now.Add(5 * time.Minute)
	deliver(right, created)
	f.queue.answer = nil
	deliver(right, created)
	check("the queue was away", tasks.Refusal{Source: "klingai", Reason: "queue_unreachable", Count: 2, Lasted: 5 * time.Minute})
	f.now = f.now.Add(11 * time.Minute)
	check("a while later")
}
