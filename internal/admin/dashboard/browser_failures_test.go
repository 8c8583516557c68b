package dashboard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/internal/testenv/browser"
	"github.com/klinghook/klinghook/tasks"
)

// seedHostile keeps a dead letter and a refused delivery of strangers.
func seedHostile(t *testing.T, db *store.Store) {
	t.Helper()
	testenv.NoError(t, db.Bury(t.Context(), store.DeadLetter{
		Task: tasks.Task{Kind: tasks.KindEventRecord, ID: "event:record:" + hostile}, Job: tasks.KlingJob(hostileJob), EventID: hostile, Error: hostile + strings.Repeat("w", 500), FailedAt: time.Now(),
		Failures: []store.Failure{{Attempt: 1, At: time.Now(), Error: hostile}},
	}))
	testenv.NoError(t, db.KeepRejection(t.Context(), tasks.Rejection{
		ID: "rej_hostile", ReceivedAt: time.Now(), Source: hostile, Reason: hostile, Detail: hostile + strings.Repeat("w", 500), Peer: hostile, Headers: map[string]string{hostile: hostile}, Body: []byte(hostile),
	}))
}

// TestFailuresInBrowser finds a failed job, replays it and sees it completed, replays 400
// failures, and discards all that match, with scripts and without.
func TestFailuresInBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bury("vid_gone", "cdn.example answered 404")
	buryMany(t, w.store, 400, 12)
	seedRejections(t, w.store)
	seedHostile(t, w.store)
	w.worker.before = func(letter store.DeadLetter) error {
		if letter.Job.ID == "vid_gone" {
			w.complete("vid_gone", "Sparks rise from a forge at night")
		}
		return nil
	}
	site := w.serve(false)
	b := browser.Open(t)
	open := func(name, path string) {
		t.Helper()
		b.Do("open "+name, chromedp.Navigate(site+path), chromedp.WaitVisible("h1"))
		looks(b, func(look string) { check(t, b, site, name+", "+look) })
		b.Show(1280, 900, "light")
	}
	// ended waits for the page of a run that has ended, and checks what it says.
	ended := func(want string) {
		t.Helper()
		b.Do("watch the run", chromedp.WaitVisible(`.box:not([data-progress]) progress`))
		if got := b.Text("main"); !strings.Contains(got, want) {
			t.Errorf("the run says %s, want %s", got, want)
		}
	}
	button := func(text string) string { return `//button[normalize-space()="` + text + `"]` }

	open("failures", "/failures")
	open("refused deliveries", "/rejections")
	b.Do("open the details", chromedp.Click("details summary"), chromedp.WaitVisible("pre.raw"))
	check(t, b, site, "headers and body")
	open("health", "/health")

	b.Do("find the failed job", chromedp.Navigate(site+"/failures"), chromedp.SendKeys(`[name="q"]`, "VID_GONE\r"), chromedp.WaitVisible(`//h2[contains(text(),"1 failure,")]`))
	if got := b.Text(".rows:last-of-type"); !strings.Contains(got, "cdn.example answered 404") {
		t.Errorf("it shows %s", got)
	}
	b.Do("open the failed job", chromedp.Click(`//a[bdi="Sparks rise from a forge at night"]`), chromedp.WaitVisible(".timeline"))
	b.Do("replay it", chromedp.Navigate(site+"/failures?q=VID_GONE"), chromedp.Click(`[name="id"]`), chromedp.Click(button("Replay 1 selected")))
	ended("1 of 1 queued again.")
	check(t, b, site, "run")
	b.Do("see that it succeeded", chromedp.Click(`//a[bdi="Sparks rise from a forge at night"]`), chromedp.WaitVisible(".job"))
	if got := b.Text(".job-head"); !strings.Contains(got, "Completed") {
		t.Errorf("the job is %s", got)
	}

	b.Do("replay 400", chromedp.Navigate(site+"/failures"), chromedp.Click(button("Replay 400")))
	ended("400 of 400 queued again.")
	b.Do("choose a filter", chromedp.Navigate(site+"/failures?q=SHOP"), chromedp.SetValue(`[name="kind"]`, "notify:send"))
	b.Do("see it applied", chromedp.WaitReady(`[name="kind"] [value="notify:send"][selected]`))
	b.Do("discard all that match", chromedp.Click(button("Discard all 12…")), chromedp.WaitVisible(`[name="confirmed"]`))
	looks(b, func(look string) { check(t, b, site, "the question, "+look) })
	if n, err := w.store.CountDeadLetters(t.Context(), store.DeadLetterFilter{}); err != nil || n != 13 {
		t.Errorf("before the answer %d are open, %v", n, err)
	}
	b.Do("confirm", chromedp.Click(`[name="confirmed"]`))
	ended("12 of 12 discarded.")
	b.Do("discard what a stranger caused", chromedp.Navigate(site+"/failures?kind=event:record"), chromedp.Click(button("Discard all 1…")), chromedp.Click(`[name="confirmed"]`))
	ended("1 of 1 discarded.")
	open("no failures", "/failures")

	buryMany(t, w.store, 30, 0)
	b.Do("show new failures", chromedp.Click(`//a[.="30 new failures"]`), chromedp.WaitVisible(`//h2[.="30 failures, newest first"]`))
	b.Do("select a page", chromedp.Navigate(site+"/failures"), chromedp.Click("[data-all]"), chromedp.WaitVisible(button("Discard 25 selected…")))
	b.WithoutScripts()
	b.Do("replay without scripts", chromedp.Navigate(site+"/failures"), chromedp.Click(`[name="id"]`), chromedp.Click(button("Replay selected")))
	ended("1 of 1 queued again.")
	if n, err := w.store.CountDeadLetters(t.Context(), store.DeadLetterFilter{Kind: tasks.KindMediaDownload}); err != nil || n != 29 {
		t.Errorf("at the end %d are open, %v", n, err)
	}
	for _, complaint := range b.Complaints() {
		t.Errorf("the browser reported %s", complaint)
	}
}

func TestTouchTargetsAreLargeOnPhones(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill()
	site := w.serve(false)
	b := browser.Open(t)
	b.Show(390, 900, "light")
	for path, selector := range map[string]string{"/jobs/vid_00": ".files a, .foot a", "/failures": `input[type="checkbox"]`} {
		b.Do("open "+path, chromedp.Navigate(site+path), chromedp.WaitVisible(selector))
		if got := b.Evaluate(`[...document.querySelectorAll('` + selector + `')].map((e) => [e.outerHTML, e.getBoundingClientRect()]).filter(([, box]) => Math.min(box.width, box.height) < 24).map(([html, box]) => html + " " + box.width + "x" + box.height).join("\n")`); got != "" {
			t.Errorf("%s has small targets: %s", path, got)
		}
	}
}
