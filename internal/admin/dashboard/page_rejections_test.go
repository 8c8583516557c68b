package dashboard_test

import (
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// seedRejections keeps some refused deliveries, newest first.
func seedRejections(t *testing.T, db *store.Store) {
	t.Helper()
	for i, rejection := range []tasks.Rejection{
		{
			Source: "klingai", Reason: "invalid_signature", Detail: "invalid signature: X-Kling-Signature is missing", Body: []byte(`{"event":"video.completed","signature":"s3cret","url":"https://cdn.example/v.mp4?sig=s3cret"}`),
			Headers: map[string]string{"User-Agent": "curl/8", "X-Kling-Signature": "sha256=s3cret", "Authorization": "(12 bytes)"},
		},
		{Source: "klingai-official", Reason: "invalid_signature", Detail: "invalid signature: too old: signed 10m0s before it arrived"},
		{Source: "klingai", Reason: "invalid_signature", Detail: "invalid signature"},
		{Source: "klingai", Reason: "malformed", Detail: "body is not JSON", Body: []byte(`{"signature":"s3cret`)},
		{Source: "unknown", Reason: "wrong_path", Detail: "wrong path or method; send deliveries with POST to /webhooks/klingai"},
		{Source: "klingai", Reason: "news_to_us"},
	} {
		rejection.ID, rejection.Peer = fmt.Sprintf("rej_%d", i), "203.0.113.9:4711"
		rejection.ReceivedAt = time.Now().Add(-time.Duration(i+1) * time.Minute)
		testenv.NoError(t, db.KeepRejection(t.Context(), rejection))
	}
}

func TestRefusedDeliveriesSayWhyAndWhatToDo(t *testing.T) {
	cfg := newConfig(t)
	pages := dashboard.New(cfg)
	show := func(target string) string {
		t.Helper()
		w := get(t, pages, target)
		if w.Code != http.StatusOK {
			t.Fatalf("GET %s answers %d", target, w.Code)
		}
		return w.Body.String()
	}
	has(t, show("/rejections"), "No delivery has been refused.")
	seedRejections(t, cfg.Store)
	page := show("/rejections")
	has(t, page, "A header of the signature is missing", "let the proxy pass its headers on", "Synchronise the clock with NTP", "Compare the secret with Kling",
		"Unreadable body", "Wrong path or method", "send deliveries with POST to /webhooks/klingai", "news_to_us",
		"curl/8", "(12 bytes)", "https://cdn.example/v.mp4?…", "203.0.113.9:4711")
	if strings.Contains(page, "s3cret") {
		t.Errorf("the page shows a secret: %s", page)
	}
	for query, want := range map[string]int{"reason=invalid_signature": 3, "source=klingai": 4, "source=unknown": 1, "reason=malformed&source=klingai": 1, "reason=busy": 0} {
		if got := strings.Count(show("/rejections?"+query), "Headers and body"); got != want {
			t.Errorf("%s shows %d refused deliveries, want %d", query, got, want)
		}
	}
	if w := get(t, pages, "/rejections?before=nonsense"); w.Code != http.StatusBadRequest {
		t.Errorf("a wrong link answers %d", w.Code)
	}
}

func TestUnreadBodiesAreExplainedInPlainWords(t *testing.T) {
	cfg := newConfig(t)
	for i, rejection := range []tasks.Rejection{
		{Reason: "too_large", Detail: "http: request body too large"},
		{Reason: "cut_short", Detail: "unexpected EOF"},
		{Reason: "cut_short", Detail: "read tcp 10.0.0.1:8080->10.0.0.2:4711: i/o timeout"},
		{Reason: "malformed", Detail: "body is not JSON: unexpected EOF"},
	} {
		rejection.ID, rejection.Source, rejection.ReceivedAt = fmt.Sprintf("rej_%d", i), "klingai", time.Now()
		testenv.NoError(t, cfg.Store.KeepRejection(t.Context(), rejection))
	}
	page := get(t, dashboard.New(cfg), "/rejections").Body.String()
	has(t, page, "the body is larger than the limit", "the connection ended before the whole body had arrived", "the body took too long to arrive", "body is not JSON: unexpected EOF")
	if strings.Contains(page, "http: request") || strings.Contains(page, "i/o timeout") {
		t.Errorf("the page shows errors of Go: %s", page)
	}
}

func TestRefusedDeliveriesArePaged(t *testing.T) {
	cfg := newConfig(t)
	pages := dashboard.New(cfg)
	for i := range 60 {
		testenv.NoError(t, cfg.Store.KeepRejection(t.Context(), tasks.Rejection{
			ID: fmt.Sprintf("rej_%02d", i), ReceivedAt: time.Unix(1781080800+int64(i), 0), Source: "klingai", Reason: "malformed", Detail: fmt.Sprintf("detail <%d>", i),
		}))
	}
	var seen []string
	next := "/rejections?reason=malformed"
	for range 3 {
		page := get(t, pages, next).Body.String()
		seen = append(seen, regexp.MustCompile(`detail &lt;\d+`).FindAllString(page, -1)...)
		next = ""
		if link := regexp.MustCompile(`href="([^"]*)" rel="next"`).FindStringSubmatch(page); link != nil {
			next = html.UnescapeString(link[1])
		}
	}
	if next != "" || len(seen) != 60 || seen[0] != "detail &lt;59" || seen[59] != "detail &lt;0" {
		t.Errorf("the pages show %d, from %v to %v, and then %q", len(seen), seen[0], seen[len(seen)-1], next)
	}
}
