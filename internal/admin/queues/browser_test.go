package queues_test

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/testenv/browser"
	"github.com/klinghook/klinghook/tasks"
)

// TestInBrowser looks at a task and runs an archived one, as a person would: the
// pages work under their policy, ask nobody else for anything, and are allowed to
// do what other pages are not.
func TestInBrowser(t *testing.T) {
	q := newQueue(t)
	inspector := asynq.NewInspectorFromRedisClient(q.redis)
	server := httptest.NewServer(q.pages)
	defer server.Close()
	b := browser.Open(t)

	const rows = `//tbody/tr`
	b.Do("open the queue",
		chromedp.Navigate(server.URL+"/queues"),
		chromedp.Click(`//a[text()="events"]`),
		chromedp.Click(`//*[@role="button" and starts-with(., "Pending")]`),
		chromedp.WaitVisible(rows))
	b.Do("open the task",
		chromedp.Click(rows+`/td[1]`),
		chromedp.WaitVisible(`//*[contains(text(), "Payload")]`))
	text := b.Text("main")
	if !strings.Contains(text, "https://cdn.example/v.mp4?…") || strings.Contains(text, "5ecre7") {
		t.Errorf("the task is shown as\n%s", text)
	}

	if err := inspector.ArchiveTask(tasks.QueueEvents, q.taskID); err != nil {
		t.Fatal(err)
	}
	b.Do("run the archived task",
		chromedp.Navigate(server.URL+"/queues/queues/events?status=archived"),
		chromedp.Click(rows+`/td[last()]//button`),
		chromedp.Click(`//button[@title="Run"]`),
		chromedp.WaitVisible(`//*[contains(text(),"is now pending")]`))
	if info, err := inspector.GetTaskInfo(tasks.QueueEvents, q.taskID); err != nil || info.State != asynq.TaskStatePending {
		t.Errorf("the task that was run is %+v, %v", info, err)
	}

	if i := slices.IndexFunc(b.Requests(), func(url string) bool { return !strings.HasPrefix(url, server.URL+"/queues") }); i >= 0 {
		t.Errorf("the pages ask for %s", b.Requests()[i])
	}
	if complaints := b.Complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %q", complaints)
	}
}

// outside lists the elements that reach beyond the right edge of what they are in.
func outside(selector, edge string) string {
	return `[...document.querySelectorAll("` + selector + `")].filter(e => e.getBoundingClientRect().right > ` + edge + `).map(e => e.tagName + " " + e.textContent.slice(0, 40)).join("; ")`
}

// onAPhone opens a page on a phone's screen, and returns when it shows an element.
func (q queue) onAPhone(t *testing.T, path, element string, options ...chromedp.EmulateViewportOption) *browser.Browser {
	t.Helper()
	server := httptest.NewServer(q.pages)
	t.Cleanup(server.Close)
	b := browser.Open(t)
	b.Do("open "+path,
		chromedp.EmulateViewport(390, 844, append(options, chromedp.EmulateMobile)...),
		chromedp.Navigate(server.URL+path),
		chromedp.WaitVisible(element))
	return b
}

// TestTaskFitsAPhone holds that a task can be read without scrolling sideways.
func TestTaskFitsAPhone(t *testing.T) {
	q := newQueue(t)
	b := q.onAPhone(t, "/queues/queues/events/tasks/"+q.taskID, `//*[contains(text(), "Payload")]`)
	if beyond := b.Evaluate(outside("main *", "innerWidth")); beyond != "" {
		t.Errorf("beyond the screen is %s", beyond)
	}
}

// TestListFitsAPhone holds that a list of tasks can be read, and its buttons be seen,
// without scrolling sideways.
func TestListFitsAPhone(t *testing.T) {
	q := newQueue(t)
	b := q.onAPhone(t, "/queues/queues/events?status=pending", `//tbody/tr`)
	if beyond := b.Evaluate(outside("main *", "innerWidth")); beyond != "" {
		t.Errorf("beyond the screen is %s", beyond)
	}
	if got := b.Evaluate(`[...document.querySelectorAll("tbody td.MuiTableCell-alignRight")].map(e => getComputedStyle(e, "::before").content + e.textContent).join()`); got != `"Retried: "0,"Max Retry: "59` {
		t.Errorf("the numbers are %s", got)
	}
}

// TestQueuesFitAPhone holds the same of the list of queues.
func TestQueuesFitAPhone(t *testing.T) {
	b := newQueue(t).onAPhone(t, "/queues/", `//tbody/tr`)
	if beyond := b.Evaluate(outside("main *", "innerWidth")); beyond != "" {
		t.Errorf("beyond the screen is %s", beyond)
	}
	if got := b.Evaluate(`[...document.querySelectorAll("tbody td.MuiTableCell-alignRight")].map(e => getComputedStyle(e, "::before").content).join("")`); got != `"Size: ""Memory usage: ""Latency: ""Processed: ""Failed: ""Error rate: "` {
		t.Errorf("the numbers are called %s", got)
	}
}

// TestFingerPressesWhatItSees holds that the first touch of a task's dots shows its
// buttons and presses none of them.
func TestFingerPressesWhatItSees(t *testing.T) {
	q := newQueue(t)
	b := q.onAPhone(t, "/queues/queues/events?status=pending", `//tbody/tr`, chromedp.EmulateTouch)
	b.Do("touch the dots of a task",
		tap("tbody td:last-child button"),
		chromedp.WaitReady(`//tbody/tr/td[last()]/button[2]`),
		settled("tbody td:last-child button"))
	if touches := b.Evaluate(`String(matchMedia("(hover: none) and (pointer: coarse)").matches)`); touches != "true" {
		t.Fatal("the browser has a mouse")
	}
	if info, err := asynq.NewInspectorFromRedisClient(q.redis).GetTaskInfo(tasks.QueueEvents, q.taskID); err != nil || info.State != asynq.TaskStatePending {
		t.Fatalf("after one touch the task is %+v, %v", info, err)
	}
	b.Do("touch the first button",
		tap("tbody td:last-child button"),
		chromedp.WaitVisible(`//*[contains(text(), "deleted")]`))
}

// settled waits until nothing moves an element any more.
func settled(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void]("Promise.all(document.querySelector(`"+selector+"`).getAnimations().map(a => a.finished)).then(() => {})", chromedp.EvalAwaitPromise)
}

// tap touches the middle of an element for a moment.
func tap(selector string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, page *chromedp.Target) (chromedp.Void, error) {
		at, err := chromedp.Evaluate[[]float64](`(e => { e.scrollIntoView({block: "center"}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })`+
			"(document.querySelector(`"+selector+"`))")(ctx, page)
		if err != nil {
			return chromedp.Void{}, err
		}
		for _, params := range []input.DispatchTouchEventParams{
			{Type: input.DispatchTouchEventTypeTouchStart, TouchPoints: []*input.TouchPoint{{X: at[0], Y: at[1]}}},
			{Type: input.DispatchTouchEventTypeTouchEnd, TouchPoints: []*input.TouchPoint{}},
		} {
			if _, err := cdp.Call(ctx, page, input.DispatchTouchEvent, params); err != nil {
				return chromedp.Void{}, err
			}
		}
		return chromedp.Void{}, nil
	}
}

// TestListsFitALaptop holds that the buttons of queues and tasks are in sight, with the
// menu beside.
func TestListsFitALaptop(t *testing.T) {
	q := newQueue(t)
	server := httptest.NewServer(q.pages)
	defer server.Close()
	if err := asynq.NewInspectorFromRedisClient(q.redis).ArchiveTask(tasks.QueueEvents, q.taskID); err != nil {
		t.Fatal(err)
	}
	b := browser.Open(t)
	for _, list := range []struct{ name, path, cells string }{
		{"queues", "", "th"},
		{"archived tasks", "/queues/events?status=archived", "tbody button"},
	} {
		b.Do("open the list of "+list.name,
			chromedp.EmulateViewport(1280, 800),
			chromedp.Navigate(server.URL+"/queues"+list.path),
			chromedp.WaitVisible(`//tbody/tr`))
		if beyond := b.Evaluate(outside(list.cells, `e.closest(".MuiPaper-root").getBoundingClientRect().right`)); beyond != "" {
			t.Errorf("beyond the edge of the list of %s is %s", list.name, beyond)
		}
	}
}
