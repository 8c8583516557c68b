package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/hibiken/asynq"
	"golang.org/x/crypto/bcrypt"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/internal/testenv/browser"
	"github.com/klinghook/klinghook/tasks"
)

// TestOperatorRerunsTaskInBrowser logs in, finds an archived download, runs it again
// and finds it completed. Other sites in the same browser can change nothing.
func TestOperatorRerunsTaskInBrowser(t *testing.T) {
	t.Parallel()
	w := newFleet(t, "")
	b := browser.Open(t)
	var fixed atomic.Bool
	w.media.instead = goneUntil(&fixed)
	const password = "correct horse battery"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	testenv.NoError(t, err)
	w.settings["KLINGHOOK_ADMIN_USER"], w.settings["KLINGHOOK_ADMIN_PASSWORD_HASH"] = "operator", string(hash)
	base, _, _ := w.startAll()
	pages := "http://" + w.start(klinghook, "admin").address("admin")
	w.accept(base, completedWith("vid_1", w.media.link("vid_1.mp4")))
	w.awaitDeadLetters(1)

	b.Do("log in",
		chromedp.Navigate(pages+"/queues/queues/media?status=archived"),
		chromedp.SendKeys("#user", "operator"),
		chromedp.SendKeys("#password", password),
		chromedp.Click(`//button`),
		chromedp.WaitVisible(`//tbody/tr`))
	if text := b.Text("main"); !strings.Contains(text, "media:download:vid_1:video") || !strings.Contains(text, "410") {
		t.Errorf("after the login the page shows\n%s", text)
	}

	fixed.Store(true)
	b.Do("run the task",
		chromedp.Click(`//tbody/tr/td[last()]//button`),
		chromedp.Click(`//button[@title="Run"]`),
		chromedp.WaitVisible(`//*[contains(text(),"is now pending")]`))
	w.awaitJob("vid_1", "video stored")
	b.Do("list completed tasks",
		chromedp.Navigate(pages+"/queues/queues/media?status=completed"),
		chromedp.WaitVisible(`//tbody/tr`))
	if text := b.Text("main"); !strings.Contains(text, "media:download:vid_1:video") {
		t.Errorf("completed tasks are\n%s", text)
	}
	w.awaitDeadLetters(0)
	for _, url := range b.Requests() {
		if !strings.HasPrefix(url, pages+"/") && url != "data:," {
			t.Errorf("the pages request %s", url)
		}
	}
	if complaints := b.Complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %q", complaints)
	}

	attack(t, b, pages, asynq.NewInspectorFromRedisClient(w.rdb))
}

// attack opens pages of other origins, which try to pause a queue: one of the same
// site, which the cookie alone would not stop, and one of another site.
func attack(t *testing.T, b *browser.Browser, pages string, inspector *asynq.Inspector) {
	t.Helper()
	target := pages + "/queues/api/queues/" + tasks.QueueMedia + ":pause"
	evil := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rw, map[string]string{
			"/form":   `<form method="post" action="` + target + `" enctype="text/plain"><button>Win a video</button></form>`,
			"/script": `<p></p><script>fetch("` + target + `", {method: "POST", mode: "no-cors", credentials: "include"}).finally(() => document.querySelector("p").id = "sent")</script>`,
			"/frame":  `<iframe src="` + pages + `/queues"></iframe><script>addEventListener("load", () => document.body.id = "sent")</script>`,
		}[r.URL.Path])
	}))
	defer evil.Close()
	for name, origin := range map[string]string{
		"another port of the same machine": evil.URL,
		"another name":                     strings.Replace(evil.URL, "127.0.0.1", "localhost", 1),
	} {
		b.Do("a form on "+name,
			chromedp.Navigate(origin+"/form"),
			chromedp.Click(`//button`),
			chromedp.WaitVisible(`//*[contains(text(),"cross-origin")]`))
		b.Do("a script on "+name, chromedp.Navigate(origin+"/script"), chromedp.WaitReady("#sent"))
		b.Do("a frame on "+name, chromedp.Navigate(origin+"/frame"), chromedp.WaitReady("#sent"))
		if info, err := inspector.GetQueueInfo(tasks.QueueMedia); err != nil || info.Paused {
			t.Errorf("after the attack from %s the queue is %+v, %v", name, info, err)
		}
	}
	if frames := strings.Join(b.Complaints(), "\n"); strings.Count(frames, "frame-ancestors") != 2 {
		t.Errorf("the browser shows the pages in frames of other sites:\n%s", frames)
	}
}
