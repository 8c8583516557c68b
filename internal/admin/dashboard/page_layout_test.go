package dashboard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// openStore returns an empty database.
func openStore(t *testing.T) *store.Store {
	t.Helper()
	db, err := store.Create(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "k.db"))
	testenv.NoError(t, err)
	t.Cleanup(func() { testenv.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	testenv.NoError(t, err)
	return db
}

// newConfig returns a configuration with an empty database and queue.
func newConfig(t *testing.T) dashboard.Config {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { testenv.NoError(t, rdb.Close()) })
	return dashboard.Config{Redis: rdb, Store: openStore(t), Log: zap.NewNop(), Version: "v1.2.3"}
}

// get returns the answer to a request for a page.
func get(t *testing.T, pages http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	return request(t, pages, http.MethodGet, target)
}

// request returns the answer to a request without a body.
func request(t *testing.T, pages http.Handler, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody)
	r.Host = "localhost:5001"
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, r)
	return w
}

func TestPagesWorkBelowAPrefix(t *testing.T) {
	cfg := newConfig(t)
	cfg.Prefix, cfg.LogoutPath = "/tools/kling", "/tools/kling/logout"
	pages := dashboard.New(cfg)
	w := get(t, pages, "/tools/kling/nothing")
	body := w.Body.String()
	if w.Code != http.StatusNotFound || !strings.Contains(body, "Page not found") || !strings.Contains(body, "v1.2.3") {
		t.Errorf("a missing page answers %d: %s", w.Code, body)
	}
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	if got := w.Header().Get("Content-Security-Policy"); got != policy {
		t.Errorf("the policy is %q, want %q", got, policy)
	}
	links := regexp.MustCompile(`(?:href|src|action)="([^"#][^"]*)"`).FindAllStringSubmatch(body, -1)
	if len(links) < 10 {
		t.Errorf("the page has the links %q", links)
	}
	for _, link := range links {
		if !strings.HasPrefix(link[1], "/tools/kling/") && link[1] != "/tools/kling" {
			t.Errorf("the page links to %s", link[1])
		}
		if !strings.Contains(link[1], "/assets/") {
			continue
		}
		if w := get(t, pages, link[1]); w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s answers %d with %v", link[1], w.Code, w.Header())
		}
	}
	if w := get(t, pages, "/tools/kling/assets/style.css"); w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "" {
		t.Errorf("a style without a version answers %d with %v", w.Code, w.Header())
	}
}

func TestProblemsLeadBackToWhereOneWas(t *testing.T) {
	w := newWorld(t)
	w.worker.notified = 0
	w.cfg.Prefix = "/tools"
	w.fail("a/b", "A lighthouse at dawn", "refused")
	pages := dashboard.New(w.cfg)
	for _, tt := range []struct{ method, path, want string }{
		{"POST", "/jobs/a%2Fb/notify", `href="/tools/jobs/a%2Fb">Back to the job`},
		{"POST", "/jobs/other/download", `href="/tools/">Back to jobs`}, // which does not exist
		{"GET", "/jobs/other", `href="/tools/">Back to jobs`},
		{"POST", "/failures", `href="/tools/failures">Back to failures`},
		{"GET", "/failures?kind=odd", `href="/tools/failures">Back to failures`},
		{"GET", "/rejections?before=odd", `href="/tools/rejections">Back to refused deliveries`},
		{"GET", "/nothing", `href="/tools/">Back to jobs`},
	} {
		if body := request(t, pages, tt.method, "/tools"+tt.path).Body.String(); !strings.Contains(body, tt.want) {
			t.Errorf("%s %s lacks %s: %s", tt.method, tt.path, tt.want, body)
		}
	}
}

func TestFirstStepsEndWithTheFirstJob(t *testing.T) {
	for _, tt := range []struct {
		name        string
		tests, jobs int
		want        bool
	}{
		{"nothing", 0, 0, true},
		{"test callbacks", 3, 0, true},
		{"a job before test callbacks", 2, 1, false},
		{"more test callbacks than a page has", 25, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			for i := range tt.jobs {
				w.fail(fmt.Sprintf("vid_%d", i), "A lighthouse at dawn", "refused")
			}
			for i := range tt.tests {
				w.hear(fmt.Sprintf("test_%d", i), tasks.TypeCreated, tasks.JobUpdate{Status: tasks.StatusCreated, MaybeTest: true})
			}
			body := get(t, dashboard.New(w.cfg), "/").Body.String()
			if got := strings.Contains(body, "Where to point Kling"); got != tt.want {
				t.Errorf("the page shows the first steps: %t, want %t", got, tt.want)
			}
		})
	}
}
