package browser

import (
	"context"
	"net/http"
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

	"github.com/klinghook/klinghook/internal/testenv"
)

// Browser is a Chromium with one page. Its methods fail the test themselves, so they
// are called from its goroutine.
type Browser struct {
	*Sightings

	t   *testing.T
	ctx context.Context
}

// Do does steps, which are what is described.
func (b *Browser) Do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v\n%s", what, err, b.Sightings)
	}
}

// Text returns what an element shows.
func (b *Browser) Text(selector string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Text(selector))
	if err != nil {
		b.t.Fatalf("read %s: %v\n%s", selector, err, b.Sightings)
	}
	return text
}

// Evaluate returns what an expression of JavaScript says about the page, a text.
func (b *Browser) Evaluate(expression string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		b.t.Fatalf("evaluate %s: %v\n%s", expression, err, b.Sightings)
	}
	return text
}

// Open opens an empty page in a Chromium of its own, which is closed with the test.
func Open(t *testing.T) *Browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(testenv.Chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU, chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // It cannot have one as root.
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	seen := new(Sightings)
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
	return &Browser{Sightings: seen, t: t, ctx: ctx}
}

// Sightings is what a browser did on the way. It is safe for concurrent use.
type Sightings struct {
	mu             sync.Mutex // guards what follows
	asked, trouble []string
}

func (s *Sightings) see(event any) {
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

// Requests returns the URLs that were asked for.
func (s *Sightings) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Complaints returns what went wrong: answers that are errors, exceptions in scripts,
// and what the pages' policy forbade.
func (s *Sightings) Complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.trouble)
}

// Forget forgets the complaints so far.
func (s *Sightings) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = nil
}

// String is all of it, for a test that failed.
func (s *Sightings) String() string {
	return "asked for " + strings.Join(s.Requests(), " ") + "\ncomplaints: " + strings.Join(s.Complaints(), "\n")
}
