package queues_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/hibiken/asynq"

	"github.com/klinghook/klinghook/internal/testenv"
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
	ctx, seen := openBrowser(t)

	run := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, seen)
		}
	}
	const rows = `//tbody/tr`
	run("open the queue",
		chromedp.Navigate(server.URL+"/queues"),
		chromedp.Click(`//a[text()="events"]`),
		chromedp.Click(`//*[@role="button" and starts-with(., "Pending")]`),
		chromedp.WaitVisible(rows))
	run("open the task",
		chromedp.Click(rows+`/td[1]`),
		chromedp.WaitVisible(`//*[contains(text(), "Payload")]`))
	text, err := chromedp.Run(ctx, chromedp.Text("main"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "https://cdn.example/v.mp4?…") || strings.Contains(text, "5ecre7") {
		t.Errorf("the task is shown as\n%s", text)
	}

	if err := inspector.ArchiveTask(tasks.QueueEvents, q.taskID); err != nil {
		t.Fatal(err)
	}
	run("run the archived task",
		chromedp.Navigate(server.URL+"/queues/queues/events?status=archived"),
		chromedp.Click(rows+`/td[last()]//button`),
		chromedp.Click(`//button[@title="Run"]`),
		chromedp.WaitVisible(`//*[contains(text(),"is now pending")]`))
	if info, err := inspector.GetTaskInfo(tasks.QueueEvents, q.taskID); err != nil || info.State != asynq.TaskStatePending {
		t.Errorf("the task that was run is %+v, %v", info, err)
	}

	if i := slices.IndexFunc(seen.requests(), func(url string) bool { return !strings.HasPrefix(url, server.URL+"/queues") }); i >= 0 {
		t.Errorf("the pages ask for %s", seen.requests()[i])
	}
	if complaints := seen.complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %q", complaints)
	}
}

// openBrowser opens an empty page in a Chromium of its own.
func openBrowser(t *testing.T) (context.Context, *sightings) {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(testenv.Chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU, chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // It cannot have one as root.
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	seen := new(sightings)
	if err := chromedp.Listen(ctx, seen.see); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("close browser: %v", err)
		}
	})
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	return ctx, seen
}

// sightings is what the browser did on the way.
type sightings struct {
	mu             sync.Mutex // guards what follows
	asked, trouble []string
}

func (s *sightings) see(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		s.asked = append(s.asked, event.Request.URL)
	case *network.EventResponseReceived:
		if event.Response.Status >= http.StatusBadRequest {
			s.trouble = append(s.trouble, event.Response.URL+": "+event.Response.StatusText)
		}
	case *runtime.EventExceptionThrown:
		s.trouble = append(s.trouble, event.ExceptionDetails.Text)
	case *log.EventEntryAdded: // among them what the policy forbids
		s.trouble = append(s.trouble, event.Entry.Text)
	}
}

func (s *sightings) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *sightings) complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.trouble)
}

func (s *sightings) String() string {
	return "asked for " + strings.Join(s.requests(), " ") + "\ncomplaints: " + strings.Join(s.complaints(), "\n")
}
