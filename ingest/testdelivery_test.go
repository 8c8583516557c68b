package ingest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/ingest"
	"github.com/klinghook/klinghook/internal/source"
)

func TestTestDeliveryIsVerifiedAndNotKept(t *testing.T) {
	body := string(source.TestDelivery(time.Now()))
	for _, tt := range []struct {
		name, path, signature string
		full                  error
		status                int
		answer                string
	}{
		{"signed", "/webhooks/klingai", sign(secret, body), nil, 200, `{"received": true, "test": true}`},
		{"unsigned", "/webhooks/klingai", "", nil, 401, `{"error": "Invalid signature"}`},
		{"signed with another secret", "/webhooks/klingai", sign("other", body), nil, 401, `{"error": "Invalid signature"}`},
		{"with a token", "/webhooks/klingai/t/" + callbackToken, "", nil, 200, `{"received": true, "test": true}`},
		{"with another token", "/webhooks/klingai/t/" + strings.ToUpper(callbackToken), "", nil, 404, `{"error": "not found"}`},
		{"while the queue is full", "/webhooks/klingai", sign(secret, body), errors.New("the spool is full"), 503, `{"error": "an event could not be queued; send it again"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, 1<<20, func(cfg *ingest.Config) { cfg.Check = func(context.Context) error { return tt.full } })
			r := httptest.NewRequest(http.MethodPost, tt.path, strings.NewReader(body))
			r.Header.Set("X-Kling-Signature", tt.signature)
			w := f.do(r)
			if w.Code != tt.status || w.Body.String() != tt.answer {
				t.Errorf("answered %d %s, want %d %s", w.Code, w.Body, tt.status, tt.answer)
			}
			if len(f.queue.tasks) > 0 {
				t.Errorf("%d tasks were queued", len(f.queue.tasks))
			}
		})
	}
}
