package dashboard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/internal/testenv/browser"
	"github.com/klinghook/klinghook/tasks"
)

// hostile is text that would run a script, leave its element or turn what follows, if it
// were not text.
const hostile = "\"'><script>pwned=1</script><img src=x onerror=pwned=1>{{.}}javascript:pwned=1 \u202egnp.oediv\u2066 \u0300\u0301\u0302"

// hostileJob is a job's id that is hostile in a path too.
const hostileJob = `../"'><script>pwned=1</script>?a#b%2F&c=` + "\u202e"

// contrast returns the text of a page that has too little contrast by WCAG AA.
const contrast = `(() => {
  const parse = (color) => (color.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0.5) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(element.className + " " + ratio.toFixed(1) + " " + element.textContent.trim().slice(0, 40));
  }
  return poor.join("\n");
})()`

// check reports problems of the open page.
func check(t *testing.T, b *browser.Browser, site, where string) {
	t.Helper()
	for what, expression := range map[string]string{
		"is wider than the screen by": `String(document.documentElement.scrollWidth - innerWidth || "")`,
		"runs scripts of strangers":   `String(window.pwned || "")`,
		"has too little contrast in":  contrast,
		"has buttons without a name":  `[...document.querySelectorAll("button, a, input:not([type=hidden]), select, video")].filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length || e.tabIndex < 0)).map((e) => e.outerHTML).join()`,
	} {
		if got := b.Evaluate(expression); got != "" {
			t.Errorf("%s %s %s", where, what, got)
		}
	}
	for _, complaint := range b.Complaints() {
		t.Errorf("%s: the browser reported %s", where, complaint)
	}
	b.Forget()
	for _, request := range b.Requests() {
		if !strings.HasPrefix(request, site+"/") && !strings.HasPrefix(request, "data:") { // the browser's own pictures
			t.Errorf("%s requests %s", where, request)
		}
	}
}

// looks calls f for each size and color scheme of the open page.
func looks(b *browser.Browser, f func(look string)) {
	for _, width := range []int64{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			b.Show(width, 900, scheme)
			f(fmt.Sprintf("%d pixels, %s", width, scheme))
		}
	}
}

func TestPagesInBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Sample = func(context.Context) error { return nil }
	site := w.serve(false)
	b := browser.Open(t)
	open := func(name, path, wait string) {
		t.Helper()
		b.Do("open "+name, chromedp.Navigate(site+path), chromedp.WaitVisible(wait))
		looks(b, func(look string) { check(t, b, site, name+", "+look) })
	}
	open("first steps", "/", ".ways")
	if got := b.Text("main"); !strings.Contains(got, "https://your-host/webhooks/klingai/official") || !strings.Contains(got, "None has been accepted yet") {
		t.Errorf("the first steps are %s", got)
	}

	w.fill()
	w.hear(hostileJob, tasks.TypeFailed, tasks.JobUpdate{
		Status: tasks.StatusFailed, Prompt: strings.Repeat(hostile, 3), Model: hostile, Error: hostile + strings.Repeat("w", 500), ExternalID: hostile,
	})
	open("gallery", "/", ".card")
	for _, text := range []string{"<script>pwned=1</script><img src=x onerror=pwned=1>{{.}}", "\ufffdgnp.oediv\ufffd"} {
		if got := b.Text(".card:first-child"); !strings.Contains(got, text) {
			t.Errorf("the first card does not show %q as text: %s", text, got)
		}
	}
	next := b.Evaluate(`document.querySelector("[rel=next]").getAttribute("href")`)
	open("table", "/?view=table", "tbody tr")
	open("second page", next, ".card")
	open("filters", "/?source=klingai&since=2020-01-01&view=table", "#model")
	open("nothing found", "/?q=nothing+at+all", ".empty")
	open("job", "/jobs/vid_00", ".player video")
	open("failed job", "/jobs/vid_gone", ".timeline")
	b.Do("open a menu", chromedp.Click(".erase summary"), chromedp.WaitVisible(".erase form"))
	b.Do("close it", chromedp.KeyEvent(kb.Escape), chromedp.Poll[chromedp.Void](`!document.querySelector(".erase").open`))
	if got := b.Evaluate("document.activeElement.innerText"); got != "Erase…" {
		t.Errorf("after Escape, the focus is on %q", got)
	}
	open("hostile job", "/jobs/"+url.PathEscape(hostileJob), ".timeline")
	if got := b.Text("main"); !strings.Contains(got, strings.ReplaceAll(hostileJob, "\u202e", "\ufffd")) || !strings.Contains(got, "<script>pwned=1</script>") {
		t.Errorf("the hostile job is not shown as text: %s", got)
	}
	for _, secret := range []string{"5ecre7"} {
		for _, path := range []string{"/jobs/vid_00", "/jobs/vid_gone"} {
			if body := get(t, dashboard.New(w.cfg), path).Body.String(); strings.Contains(body, secret) || !strings.Contains(body, ".mp4?…") {
				t.Errorf("%s shows the signature of a link, or not the link", path)
			}
		}
	}

	b.Do("open the API", chromedp.Navigate(site+"/"), chromedp.Click(".foot a"), chromedp.WaitVisible(".api"))
	b.Evaluate(`document.querySelectorAll("details").forEach((details) => { details.open = true }), ""`)
	looks(b, func(look string) { check(t, b, site, "API, "+look) })
	if got := b.Text(".api"); !strings.Contains(got, "people and programs.\n\nAuthentication: ") {
		t.Errorf("the API's introduction has no paragraphs: %.300s", got)
	}
	b.Show(1280, 900, "light")

	b.Do("search", chromedp.Navigate(site+"/"), chromedp.SendKeys(`[name="q"]`, "WATCHMAKER\r"), chromedp.WaitVisible(`.card:only-child`))
	if got := b.Text(".gallery"); !strings.Contains(got, "watchmaker") || b.Evaluate("location.search") != "?q=WATCHMAKER&source=&model=&since=&until=" {
		t.Errorf("the search leads to %s with %s", b.Evaluate("location.search"), got)
	}
	b.Do("clear the search", chromedp.Click(`//a[text()="Clear"]`), chromedp.WaitVisible(`.card:nth-child(24)`))
	b.Do("play a video in place", chromedp.Click(".card .play"))
	b.Do("watch it", chromedp.Poll[chromedp.Void](`[...document.querySelectorAll(".card video")].some((video) => video.currentTime > 0)`))
	check(t, b, site, "gallery with a playing video")

	b.ShowOnPhone(390, 900)
	b.Do("open asynq's pages on a phone", chromedp.Navigate(site+"/queues/"), chromedp.WaitVisible(`//*[text()="completed"]`))
	if complaints := b.Complaints(); len(complaints) > 0 {
		t.Errorf("asynq's pages on a phone: the browser reported %q", complaints)
	}
	b.Do("go back", chromedp.Click(`//a[text()="← Jobs"]`), chromedp.WaitVisible(".gallery"))
}

func TestScreenshotsForDocs(t *testing.T) {
	folder := os.Getenv("KLINGHOOK_SCREENSHOTS")
	if folder == "" {
		t.Skip("KLINGHOOK_SCREENSHOTS is not set to a folder, such as docs/images")
	}
	w := newWorld(t)
	w.fill()
	site := w.serve(false)
	b := browser.Open(t)
	b.Show(1280, 1000, "light")
	for _, page := range [][2]string{{"jobs", "/"}, {"job", "/jobs/vid_00"}, {"failures", "/failures"}} {
		name, path := page[0], page[1]
		if name == "failures" { // after the others, which show few
			buryMany(t, w.store, 400, 12)
		}
		b.Do("open "+name, chromedp.Navigate(site+path), chromedp.WaitVisible("#main"),
			chromedp.Poll[chromedp.Void](`[...document.images].every((image) => image.complete)`),
			chromedp.Poll[chromedp.Void](`performance.now() > 3000`)) // the browser takes away what shows that a video loads
		testenv.NoError(t, os.WriteFile(filepath.Join("..", "..", "..", folder, name+".png"), b.Screenshot(), 0o644))
	}
}

func TestPagesWorkWithoutScripts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill()
	site := w.serve(false)
	b := browser.Open(t)
	b.WithoutScripts()
	for _, step := range []struct{ button, want, notice string }{
		{"Replay the failure", "replay vid_gone", "1 task was queued again."},
		{"Download again", "download vid_gone", "2 downloads were queued."},
		{"Notify again", "notify vid_gone", "1 notification was queued."},
	} {
		b.Do(step.button, chromedp.Navigate(site+"/jobs/vid_gone"), chromedp.Click(`//button[text()="`+step.button+`"]`), chromedp.WaitVisible(".notice"))
		if got, notice := w.worker.taken(), b.Text(".notice"); got != step.want || notice != step.notice {
			t.Errorf("%s: did %s and says %q, want %s and %q", step.button, got, notice, step.want, step.notice)
		}
	}
	b.Do("refresh", chromedp.Click(`//button[text()="Refresh"]`), chromedp.WaitVisible(".problem"))
	if got := b.Text(".problem"); !strings.Contains(got, "KLINGAI_API_KEY") {
		t.Errorf("without look-ups, the page says %s", got)
	}
	b.Do("erase", chromedp.Navigate(site+"/jobs/vid_gone"), chromedp.Click(`.erase summary`), chromedp.Click(`//button[text()="Erase the job"]`), chromedp.WaitVisible(".notice"))
	if got := w.worker.taken(); got != "erase vid_gone" || b.Evaluate("location.pathname") != "/" {
		t.Errorf("erasing did %s and leads to %s", got, b.Evaluate("location.pathname"))
	}
}

func TestStrangersAndViewersCannotChangeAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill()
	w.cfg.Prefix = "/tools/klinghook"
	site := w.serve(true)
	home := site + w.cfg.Prefix
	b := browser.Open(t)
	logIn := func(token string) {
		t.Helper()
		b.Do("log in", chromedp.Navigate(home+"/jobs/vid_gone"), chromedp.SendKeys("#token", token), chromedp.Click(`//button`), chromedp.WaitVisible(".timeline"))
	}
	logIn(operatorToken)
	if got := b.Evaluate(`String(document.querySelectorAll(".job-actions button").length)`); got != "5" {
		t.Errorf("an operator sees %s buttons, want 5", got)
	}
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method="post" action="%s/jobs/vid_gone/erase"><button>Win a prize</button></form>`, home)
	}))
	defer stranger.Close()
	b.Forget()
	b.Do("send a form of another site", chromedp.Navigate(stranger.URL), chromedp.Click("button"), chromedp.WaitVisible(`//*[contains(text(),"cross-origin")]`))
	if got := w.worker.taken(); got != "" {
		t.Errorf("a form of another site did %s", got)
	}

	b.Do("log out", chromedp.Navigate(home+"/"), chromedp.Click(".logout button"), chromedp.WaitVisible("#token"))
	logIn(viewerToken)
	if got := b.Evaluate(`String(document.querySelectorAll("main form, main button").length)`); got != "0" {
		t.Errorf("a viewer sees %s forms and buttons", got)
	}
	b.Forget()
	for _, action := range []string{"refresh", "download", "notify", "replay", "erase"} {
		if got := b.Evaluate(`(() => { const r = new XMLHttpRequest(); r.open("POST", "vid_gone/` + action + `", false); r.send(); return String(r.status) })()`); got != "403" {
			t.Errorf("%s by a viewer answers %s", action, got)
		}
	}
	if got := w.worker.taken(); got != "" {
		t.Errorf("a viewer did %s", got)
	}
}
