package dashboard_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/internal/testenv/browser"
	"github.com/klinghook/klinghook/tasks"
)

// await waits until a JavaScript expression is true.
func await(b *browser.Browser, what, expression string) {
	b.Do(what, chromedp.Poll[chromedp.Void](expression))
}

func TestUpdatesDoNotMoveThePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill()
	w.brokenStreams.Store(1)
	site := w.serve(false)
	b := browser.Open(t)
	b.Show(1280, 900, "light")
	const busy = `document.querySelector('[data-job="vid_busy"]')`
	// where describes what the reader sees: the cards in order, the scroll position, and the
	// position of the card in view.
	const where = `JSON.stringify([[...document.querySelectorAll(".card")].map((card) => card.dataset.job), scrollY, document.querySelector('[data-job="vid_20"]').getBoundingClientRect().top])`

	b.Do("open the gallery", chromedp.Navigate(site+"/"), chromedp.WaitVisible(".card"))
	b.Do("play a video", chromedp.Click(`//article[@data-job="vid_new"]//button`))
	await(b, "wait for the video", `document.querySelector('[data-job="vid_new"] video').currentTime > 0`)
	b.Evaluate(`document.querySelector('[data-job="vid_20"] a').focus(), scrollTo(0, 400), ""`)
	before := b.Evaluate(where)
	w.progress("vid_busy", "Rain on a tin roof, a dog asleep below", 80)
	await(b, "wait for progress", busy+`.querySelector("progress").value === 80`)
	b.Forget() // the stream that failed at first
	w.bury("vid_new", "cdn.example answered 404")
	await(b, "wait for a failure", `document.querySelector('[data-job="vid_new"]').innerText.includes("1 failure") && document.querySelector(".nav-count").innerText === "2"`)
	w.progress("vid_next_1", "A kite over the dunes", 10)
	w.progress("vid_next_2", "Snow on a red mailbox", 10)
	await(b, "wait for new jobs", `document.querySelector(".new-jobs").innerText === "2 new jobs"`)
	if after := b.Evaluate(where); after != before {
		t.Errorf("the page moved from\n%s to\n%s", before, after)
	}
	if got := b.Evaluate(`document.activeElement.closest(".card")?.dataset.job + " " + document.querySelector('[data-job="vid_new"] video').paused`); got != "vid_20 false" {
		t.Errorf("the focus and the pause of the video became %s", got)
	}
	b.Do("show new jobs", chromedp.Click(".new-jobs a"), chromedp.WaitVisible(`[data-job="vid_next_2"]`))
	if got := b.Evaluate(`document.querySelector(".card").dataset.job`); got != "vid_next_2" {
		t.Errorf("the first of the new jobs is %s", got)
	}

	testenv.NoError(t, w.store.BeginErasure(t.Context(), tasks.KlingJob("vid_24"), time.Now()))
	testenv.NoError(t, w.cfg.Erase(t.Context(), tasks.KlingJob("vid_24")))
	await(b, "wait for the erased job", `document.querySelector('[data-job="vid_24"].erased')?.innerText.includes("Erased")`)

	b.Do("open the table", chromedp.Navigate(site+"/?view=table&status=processing"), chromedp.WaitVisible("tbody"))
	w.complete("vid_next_1", "A kite over the dunes")
	await(b, "wait for the end in the table", `document.querySelector('[data-job="vid_next_1"]').innerText.includes("Completed")`)
	if got := b.Evaluate(`String(document.querySelectorAll("tbody tr").length)`); got != "3" {
		t.Errorf("the table has %s rows, want the 3 that it had", got)
	}

	b.Do("open a job", chromedp.Navigate(site+"/jobs/vid_busy"), chromedp.Click(".raw-event summary"), chromedp.WaitVisible(".raw"))
	w.complete("vid_busy", "Rain on a tin roof, a dog asleep below")
	await(b, "wait for the video of the job", `document.querySelector(".player video") !== null`)
	await(b, "wait for the timeline", `document.querySelector(".timeline").innerText.includes("to team-chat: 200")`)
	if got := b.Evaluate(`String(document.querySelectorAll(".raw-event[open]").length)`); got != "1" {
		t.Errorf("%s raw events are open, want the one that was", got)
	}
	check(t, b, site, "job after updates")
	_, err := w.store.EraseRows(t.Context(), tasks.KlingJob("vid_busy"))
	testenv.NoError(t, err)
	b.Do("see that the job is gone", chromedp.WaitVisible(`//h1[.="No such job"]`))
}

// TestNewStatusesDoNotMoveOtherJobs changes the status of jobs in the gallery and in the table.
func TestNewStatusesDoNotMoveOtherJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.complete("vid_old", "A lighthouse at dawn")
	site := w.serve(false)
	b := browser.Open(t)
	const prompt = "A paper boat drifts down a gutter"
	// places has the place of each card or row.
	const places = `JSON.stringify([...document.querySelectorAll("[data-job]")].map((e) => [e.dataset.job, e.offsetTop, e.offsetHeight]))`
	for i, path := range []string{"/", "/?view=table", "/", "/?view=table"} {
		b.Show([]int64{1280, 1280, 390, 390}[i], 900, "light")
		named, bare, buried := fmt.Sprintf("vid_named_%d", i), fmt.Sprintf("vid_bare_%d", i), fmt.Sprintf("vid_buried_%d", i)
		created := tasks.JobUpdate{Status: tasks.StatusCreated, ExternalID: "order-7", Prompt: prompt, Model: "kling-v2-1"}
		w.hear(buried, tasks.TypeCreated, created)
		w.hear(bare, tasks.TypeCreated, tasks.JobUpdate{Status: tasks.StatusCreated})
		w.hear(named, tasks.TypeCreated, created)
		b.Do("open "+path, chromedp.Navigate(site+path), chromedp.WaitVisible(`[data-job="`+named+`"]`))
		before := b.Evaluate(places)
		for _, step := range []struct {
			job, shows string
			change     func()
		}{
			{named, "40%", func() { w.progress(named, prompt, 40) }},
			{named, "Downloading", func() {
				w.hear(named, tasks.TypeCompleted, tasks.JobUpdate{Status: tasks.StatusCompleted, Media: []tasks.MediaLink{{Name: "video", URL: "https://cdn.example/early.mp4"}}})
			}},
			{named, "0.28 USD", func() { w.complete(named, prompt) }},
			{bare, "refused by the content check", func() { w.fail(bare, "", strings.Repeat("the prompt was refused by the content check ", 9)) }},
			{buried, "1 failure", func() { w.bury(buried, "cdn.example answered 404") }},
		} {
			step.change()
			await(b, "wait for "+step.shows, fmt.Sprintf(`document.querySelector('[data-job=%q]').textContent.includes(%q)`, step.job, step.shows))
			if after := b.Evaluate(places); after != before {
				t.Errorf("%s: when %s showed %q, jobs moved from\n%s to\n%s", path, step.job, step.shows, before, after)
			}
		}
		looks(b, func(look string) { check(t, b, site, path+", "+look) })
	}
}

func TestFirstStepsShowWhatArrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sent := false
	w.cfg.Sample = func(context.Context) error {
		sent = true
		return nil
	}
	site := w.serve(false)
	b := browser.Open(t)
	b.Do("open", chromedp.Navigate(site+"/"), chromedp.WaitVisible(".ways"))
	testenv.NoError(t, w.store.KeepRejection(t.Context(), tasks.Rejection{ID: "rej_1", Source: "klingai", Reason: "invalid_signature", ReceivedAt: time.Now()}))
	await(b, "wait for the refused delivery", `document.querySelector(".arrivals").innerText.includes("A delivery was refused")`)
	b.Do("make a sample job", chromedp.Click(".sample button"), chromedp.WaitVisible(".notice"))
	if !sent {
		t.Error("the button made no sample job")
	}
	if got := b.Evaluate("location.search"); got != "" {
		t.Errorf("a reload would say again what the button did: %s", got)
	}
	testenv.NoError(t, tasks.NoteTestDelivery(t.Context(), w.cfg.Redis, tasks.TestDelivery{Source: "klingai-official", At: time.Now()}))
	await(b, "wait for klinghook's own test", `/klinghook doctor arrived .*\(callback\)/.test(document.querySelector(".arrivals").innerText)`)
	w.hear("test_1", tasks.TypeCreated, tasks.JobUpdate{Status: tasks.StatusCreated, MaybeTest: true})
	await(b, "wait for the test callback", `document.querySelector(".arrivals").innerText.includes("Kling's console reaches klinghook")`)
	w.complete("vid_1", "A lighthouse at dawn")
	b.Do("wait for the first job", chromedp.WaitVisible(".card:nth-child(2)"))
	check(t, b, site, "gallery after the first steps")
}
