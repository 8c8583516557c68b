// Package browser opens a Chromium for a test, and records its requests and errors.
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

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/klinghook/klinghook/internal/testenv"
)

// Browser is a Chromium with one page. Its methods fail the test themselves, so call
// them from its goroutine.
type Browser struct {
	*Record

	t   *testing.T
	ctx context.Context
}

// Do runs steps. A failure shows their description.
func (b *Browser) Do(description string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v\n%s", description, err, b.Record)
	}
}

// Text returns the text of an element.
func (b *Browser) Text(selector string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Text(selector))
	if err != nil {
		b.t.Fatalf("read %s: %v\n%s", selector, err, b.Record)
	}
	return text
}

// Evaluate returns the string that a JavaScript expression evaluates to.
func (b *Browser) Evaluate(expression string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		b.t.Fatalf("evaluate %s: %v\n%s", expression, err, b.Record)
	}
	return text
}

// Show sets the size of the page and its color scheme, "light" or "dark".
func (b *Browser) Show(width, height int64, scheme string) {
	b.t.Helper()
	b.Do("set the size", chromedp.EmulateViewport(width, height))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if err != nil {
		b.t.Fatalf("set the color scheme: %v", err)
	}
}

// ShowOnPhone sets the size of the page as on a phone, which respects the page's viewport.
func (b *Browser) ShowOnPhone(width, height int64) {
	b.t.Helper()
	b.Do("set the size", chromedp.EmulateViewport(width, height, chromedp.EmulateMobile, chromedp.EmulateTouch))
}

// WithoutScripts stops the scripts of pages that are opened from now on.
func (b *Browser) WithoutScripts() {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		b.t.Fatalf("disable scripts: %v", err)
	}
}

// Screenshot returns a picture of the visible part of the page, in PNG.
func (b *Browser) Screenshot() []byte {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatalf("take a screenshot: %v\n%s", err, b.Record)
	}
	return picture
}

// Cookies returns the cookies that the browser would send to the open page.
func (b *Browser) Cookies() []*network.Cookie {
	b.t.Helper()
	result, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{})
	if err != nil {
		b.t.Fatalf("read cookies: %v\n%s", err, b.Record)
	}
	return result.Cookies
}

// Open opens an empty page in a new Chromium, which is closed with the test.
func Open(t *testing.T) *Browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(testenv.Chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU, chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("ignore-certificate-errors", true)) // tests make their own certificates
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Root cannot use a sandbox.
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	record := new(Record)
	if err := chromedp.Listen(ctx, record.add); err != nil {
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
	return &Browser{Record: record, t: t, ctx: ctx}
}

// Record has a browser's requests and errors. It is safe for concurrent use.
type Record struct {
	mu               sync.Mutex // guards the fields below
	requests, errors []string
}

func (r *Record) add(event any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		r.requests = append(r.requests, event.Request.URL)
	case *network.EventResponseReceived:
		if event.Response.Status >= http.StatusBadRequest {
			r.errors = append(r.errors, event.Response.URL+": "+event.Response.StatusText)
		}
	case *runtime.EventExceptionThrown:
		r.errors = append(r.errors, event.ExceptionDetails.Text)
	case *log.EventEntryAdded: // including violations of the content security policy
		r.errors = append(r.errors, event.Entry.Text)
	}
}

// Requests returns the requested URLs.
func (r *Record) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Complaints returns error responses, exceptions in scripts, and violations of the
// pages' content security policy.
func (r *Record) Complaints() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errors)
}

// Forget removes the complaints so far.
func (r *Record) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = nil
}

// String returns the whole record, for a failed test.
func (r *Record) String() string {
	return "requests: " + strings.Join(r.Requests(), " ") + "\ncomplaints: " + strings.Join(r.Complaints(), "\n")
}
