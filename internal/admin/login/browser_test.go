package login_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/crypto/bcrypt"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/admin/login"
	"github.com/klinghook/klinghook/internal/testenv/browser"
)

// TestLoginInBrowserThroughTLSProxy logs in, runs an archived task and logs out, through
// a proxy that forwards only the prefix and does not say that it uses TLS.
func TestLoginInBrowserThroughTLSProxy(t *testing.T) {
	t.Parallel()
	for name, prefix := range map[string]string{"without a prefix": "", "with a prefix": "/tools/klinghook"} {
		t.Run(name, func(t *testing.T) {
			rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
			defer rdb.Close()
			inspector := archivedTask(t, rdb)
			site, logs := startProxy(t, rdb, prefix)
			b := browser.Open(t)

			archive := prefix + "/queues/queues/events?status=archived"
			b.Do("log in with a wrong password",
				chromedp.Navigate(site+archive),
				chromedp.SendKeys("#user", "operator"),
				chromedp.SendKeys("#password", "guess"),
				chromedp.Click(`//button`),
				chromedp.WaitVisible(`[role="alert"]`))
			if refused := logs.FilterMessage("login refused").All(); len(refused) != 1 || refused[0].ContextMap()["client"] != "203.0.113.9" {
				t.Errorf("logged %v, want one refused login from the proxy's client", logs.All())
			}
			b.Forget() // the refused login
			b.Do("log in",
				chromedp.SendKeys("#password", "correct horse battery"),
				chromedp.Click(`//button`),
				chromedp.WaitVisible(`//tbody/tr`))
			if got := b.Evaluate("location.pathname + location.search"); got != archive {
				t.Errorf("the login leads to %s, want %s", got, archive)
			}
			cookies := b.Cookies()
			if len(cookies) != 1 || cookies[0].Name != "__Host-klinghook_session" || !cookies[0].Secure || !cookies[0].HTTPOnly ||
				cookies[0].SameSite != network.CookieSameSiteStrict || cookies[0].Path != "/" || cookies[0].Domain != "127.0.0.1" {
				t.Errorf("the browser has the cookies %+v", cookies)
			}
			if got := b.Evaluate("document.cookie"); got != "" {
				t.Errorf("scripts can read the cookie %.30s…", got)
			}

			b.Do("run the task",
				chromedp.Click(`//tbody/tr/td[last()]//button`),
				chromedp.Click(`//button[@title="Run"]`),
				chromedp.WaitVisible(`//*[contains(text(),"is now pending")]`))
			if info, err := inspector.GetTaskInfo("events", "task_1"); err != nil || info.State != asynq.TaskStatePending {
				t.Errorf("the task is %+v, %v", info, err)
			}

			b.Do("log out", chromedp.Click(`//button[text()="Log out"]`), chromedp.WaitVisible("#password"))
			if cookies := b.Cookies(); len(cookies) > 0 {
				t.Errorf("after the logout the browser has the cookies %+v", cookies)
			}
			b.Do("open a page after the logout", chromedp.Navigate(site+archive), chromedp.WaitVisible("#password"))
			for _, request := range b.Requests() {
				if !strings.HasPrefix(request, site+prefix+"/") && request != "data:," {
					t.Errorf("the pages request %s", request)
				}
			}
			if complaints := b.Complaints(); len(complaints) > 0 {
				t.Errorf("the browser reported %q", complaints)
			}
		})
	}
}

// archivedTask archives a task in the queue events.
func archivedTask(t *testing.T, rdb redis.UniversalClient) *asynq.Inspector {
	t.Helper()
	if _, err := asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("event:record", nil), asynq.Queue("events"), asynq.TaskID("task_1")); err != nil {
		t.Fatal(err)
	}
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	if err := inspector.ArchiveTask("events", "task_1"); err != nil {
		t.Fatal(err)
	}
	return inspector
}

// startProxy starts the pages behind a TLS proxy and returns the proxy's URL.
func startProxy(t *testing.T, rdb redis.UniversalClient, prefix string) (site string, logs *observer.ObservedLogs) {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse battery"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.InfoLevel)
	gate := login.New(login.Config{
		User: "operator", PasswordHash: string(hash), Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Prefix: prefix, Redis: rdb, Log: zap.New(core), Metrics: prometheus.NewRegistry(),
	})
	pages := dashboard.NewQueues(dashboard.Config{Prefix: prefix, Redis: rdb, LogoutPath: prefix + login.LogoutPath}, false)
	private := httptest.NewServer(admin.Handler(admin.Config{
		Live: http.NotFound, Ready: http.NotFound, Metrics: prometheus.NewRegistry(), Prefix: prefix, Dashboard: gate.Protect(pages), Login: gate,
	}))
	t.Cleanup(private.Close)
	target, err := url.Parse(private.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.Out.Header.Set("X-Forwarded-For", "203.0.113.9")
	}})
	proxy := httptest.NewTLSServer(mux)
	t.Cleanup(proxy.Close)
	return proxy.URL, logs
}
