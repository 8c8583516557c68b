package queues_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/testenv/browser"
	"github.com/klinghook/klinghook/tasks"
)

// TestPagesWorkInBrowser opens a task and runs an archived one, without requests to
// other hosts or violations of the policy.
func TestPagesWorkInBrowser(t *testing.T) {
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
		t.Errorf("the pages requested %s", b.Requests()[i])
	}
	if complaints := b.Complaints(); len(complaints) > 0 {
		t.Errorf("the browser reported %q", complaints)
	}
}
