package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/hibiken/asynq"
	"golang.org/x/crypto/bcrypt"

	"github.com/klinghook/klinghook/internal/testenv/browser"
	"github.com/klinghook/klinghook/tasks"
)

// TestAdminInBrowser does what an operator does: a download has failed for good, and
// after its server was mended the operator logs in, finds the task, runs it again,
// and sees that it is done. Another site in the same browser can do nothing.
func TestAdminInBrowser(t *testing.T) {
	b := browser.Open(t)
	w := newWorld(t)
	var mended atomic.Bool
	settings, rdb, cdn := plant(t, w, func(rw http.ResponseWriter, r *http.Request) {
		if !mended.Load() {
			rw.WriteHeader(http.StatusGone)
			return
		}
		_, _ = rw.Write(file(r.URL.Path))
	})
	const password = "correct horse battery"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		t.Fatal(err)
	}
	settings["KLINGHOOK_ADMIN_USER"], settings["KLINGHOOK_ADMIN_PASSWORD_HASH"] = "operator", string(hash)
	ingest := start(t, "klinghook-ingest", settings)
	start(t, "klinghook", settings, "worker")
	pages := "http://" + start(t, "klinghook", settings, "admin").Address("admin")
	w.post("http://"+ingest.Address("webhooks"), w.completedFrom("vid_1", cdn+"/vid_1.mp4?Signature=hush"))
	eventually(t, "the dead letter", func() (bool, string) {
		list := deadLetters(t, settings)
		return len(list) == 1, fmt.Sprintf("%+v", list)
	})

	b.Do("log in with a wrong password, and then the right one",
		chromedp.Navigate(pages+"/queues/queues/media?status=archived"),
		chromedp.SendKeys("#user", "operator"),
		chromedp.SendKeys("#password", "guess"),
		chromedp.Click(`//button`),
		chromedp.WaitVisible(`[role="alert"]`))
	b.Forget() // that it was refused
	b.Do("log in",
		chromedp.SendKeys("#user", "operator"),
		chromedp.SendKeys("#password", password),
		chromedp.Click(`//button`),
		chromedp.WaitVisible(`//tbody/tr`))
	if text := b.Text("main"); !strings.Contains(text, "media:download:vid_1:video") || !strings.Contains(text, "410") {
		t.Errorf("after the login the pages show\n%s", text)
	}

	mended.Store(true)
	b.Do("run the task",
		chromedp.Click(`//tbody/tr/td[last()]//button`),
		chromedp.Click(`//button[@title="Run"]`),
		chromedp.WaitVisible(`//*[contains(text(),"is now pending")]`))
	eventually(t, "the video", func() (bool, string) {
		shown, err := showJob(t, settings, "vid_1")
		return err == nil && strings.Contains(shown.summary(), "video stored"), fmt.Sprint(shown.summary(), err)
	})
	b.Do("see that it is done",
		chromedp.Navigate(pages+"/queues/queues/media?status=completed"),
		chromedp.WaitVisible(`//tbody/tr`))
	if text := b.Text("main"); !strings.Contains(text, "media:download:vid_1:video") {
		t.Errorf("what is done is shown as\n%s", text)
	}
	eventually(t, "the end of the dead letter", func() (bool, string) {
		list := deadLetters(t, settings)
		return len(list) == 0, fmt.Sprintf("%+v", list)
	})
	for _, url := range b.Requests() {
		if !strings.HasPrefix(url, pages+"/") && url != "data:," {
			t.Errorf("the pages ask for %s", url)
		}
	}
	if complaints := b.Complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %q", complaints)
	}

	// The browser is logged in.
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	attack(t, b, pages, inspector)
	b.Do("log out",
		chromedp.Navigate(pages+"/queues"),
		chromedp.Click(`//button[text()="Log out"]`),
		chromedp.WaitVisible("#password"))
	b.Do("be asked again", chromedp.Navigate(pages+"/queues"), chromedp.WaitVisible("#password"))
}

// attack opens pages of other origins in the browser, which try to change something:
// one of the same site, which the cookie alone would not stop, and one of another.
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
			t.Errorf("after the attacks of %s the queue is %+v, %v", name, info, err)
		}
	}
	if frames := strings.Join(b.Complaints(), "\n"); strings.Count(frames, "frame-ancestors") != 2 {
		t.Errorf("the pages stand in others' frames; the browser said:\n%s", frames)
	}
}
