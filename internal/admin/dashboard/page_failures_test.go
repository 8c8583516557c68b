package dashboard_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/admin/login"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// failures are pages with dead letters.
type failures struct {
	t      *testing.T
	store  *store.Store
	worker *fakeWorker
	pages  *dashboard.Dashboard
}

// newFailures returns pages with downloads and notifications that failed.
func newFailures(t *testing.T, downloads, notifications int) *failures {
	t.Helper()
	cfg := newConfig(t)
	worker := &fakeWorker{store: cfg.Store}
	cfg.Worker = worker
	f := &failures{t, cfg.Store, worker, dashboard.New(cfg)}
	t.Cleanup(f.pages.Close)
	buryMany(t, cfg.Store, downloads, notifications)
	return f
}

// buryMany keeps dead letters of downloads and notifications, the newest a minute ago.
func buryMany(t *testing.T, db *store.Store, downloads, notifications int) {
	t.Helper()
	var letters []store.DeadLetter
	for i := range downloads + notifications {
		job := tasks.KlingJob(fmt.Sprintf("vid_%04d", i))
		at := time.Now().Add(-time.Minute - time.Duration(downloads+notifications-i)*time.Second)
		letter := store.DeadLetter{
			Task: tasks.Task{Kind: tasks.KindMediaDownload, ID: fmt.Sprintf("media:download:%d", i), Payload: []byte(`{"big":"payload"}`)}, Job: job, FailedAt: at,
			Error:    fmt.Sprintf("download media %s: https://cdn.example/%d.mp4?sig=s3cret: answered 404", job.ID, i),
			Failures: []store.Failure{{Attempt: 1, At: at.Add(-time.Hour), Error: "the first one timed out"}, {Attempt: 2, At: at, Error: "HTTP 404"}},
		}
		if i >= downloads {
			letter.Task = tasks.Task{Kind: tasks.KindNotifySend, ID: fmt.Sprintf("notify:send:%d", i), Payload: []byte(`{}`)}
			letter.Error = "notify shop: answered 500"
		}
		letters = append(letters, letter)
	}
	for chunk := range slices.Chunk(letters, 500) {
		testenv.NoError(t, db.Bury(t.Context(), chunk...))
	}
}

func (f *failures) get(target string) string {
	f.t.Helper()
	w := get(f.t, f.pages, target)
	if w.Code != http.StatusOK {
		f.t.Fatalf("GET %s answers %d: %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}

func (f *failures) post(form url.Values) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequestWithContext(f.t.Context(), http.MethodPost, "/failures", strings.NewReader(form.Encode()))
	r.Host = "localhost:5001"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	f.pages.ServeHTTP(w, r)
	return w
}

// finish waits for a run and returns its page and its last progress.
func (f *failures) finish(w *httptest.ResponseRecorder) (page string, progress map[string]any) {
	f.t.Helper()
	at := w.Header().Get("Location")
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(at, "/failures/runs/") {
		f.t.Fatalf("the form is answered with %d, %s: %s", w.Code, at, w.Body)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		testenv.NoError(f.t, json.Unmarshal([]byte(f.get(at+"/progress")), &progress))
		if progress["ended"] != nil {
			return f.get(at), progress
		}
	}
	f.t.Fatal("the run does not end")
	return "", nil
}

// open returns how many dead letters are open.
func (f *failures) open(filter store.DeadLetterFilter) int64 {
	f.t.Helper()
	n, err := f.store.CountDeadLetters(f.t.Context(), filter)
	testenv.NoError(f.t, err)
	return n
}

// fields returns the hidden fields of a page's form that selects all that match.
func fields(t *testing.T, page string) url.Values {
	t.Helper()
	_, form, found := strings.Cut(page, "data-select")
	if !found {
		t.Fatalf("there is no form: %s", page)
	}
	form, _, _ = strings.Cut(form, "</form>")
	values := url.Values{}
	for _, field := range regexp.MustCompile(`type="hidden" name="([a-z]+)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) {
		values.Set(field[1], field[2])
	}
	return values
}

func has(t *testing.T, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q:\n%s", part, page)
		}
	}
}

func TestFailuresShowWhatFailedAndWhy(t *testing.T) {
	f := newFailures(t, 30, 3)
	page := f.get("/failures")
	has(t, page, "33 failures", "30 failed", "3 failed", `href="/jobs/vid_0032"`, "Send a notification", "Download a file",
		"notify shop: answered 500", "2 attempts", "the first one timed out", `<option value="media:download">Download a file`)
	if strings.Contains(page, "s3cret") || strings.Contains(page, "big") {
		t.Error("the page shows a signature or a payload")
	}
	older := regexp.MustCompile(`href="(/failures\?below=\d+)" rel="next"`).FindStringSubmatch(page)
	if older == nil {
		t.Fatalf("no link to older failures: %s", page)
	}
	page = f.get(older[1])
	has(t, page, `href="/jobs/vid_0000"`, ">Newest<")
	if strings.Contains(page, "/jobs/vid_0032") || strings.Contains(page, ">Older<") {
		t.Error("the second page repeats the first")
	}
}

func TestFailuresAreFilteredByTheirLink(t *testing.T) {
	f := newFailures(t, 30, 3)
	for query, want := range map[string]string{
		"kind=notify:send":  "3 failures",
		"q=VID_0031":        "1 failure,",
		"job=vid_0002":      "1 failure,",
		"since=1h":          "33 failures",
		"q=nothing+like+it": "No failure matches",
	} {
		has(t, f.get("/failures?"+query), want, "Clear")
	}
	for query, want := range map[string]string{"kind=x": "There is no work", "since=5y": "write a duration such as 24h"} {
		if w := get(t, f.pages, "/failures?"+query); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s answers %d %s", query, w.Code, w.Body)
		}
	}
	group := regexp.MustCompile(`href="(/failures\?cause=notify[^"]*)"`).FindStringSubmatch(f.get("/failures"))
	if group == nil {
		t.Fatal("no link to a cause")
	}
	has(t, f.get(html.UnescapeString(group[1])), "3 failures", "all causes")
	has(t, newFailures(t, 0, 0).get("/failures"), "Nothing has failed for good")
}

func TestSelectedFailuresAreReplayed(t *testing.T) {
	f := newFailures(t, 3, 0)
	f.worker.before = func(letter store.DeadLetter) error {
		if letter.Job.ID == "vid_0001" {
			return errors.New("its secret is gone")
		}
		return nil
	}
	if w := f.post(url.Values{"do": {"replay selected"}, "q": {"shop"}}); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `href="/failures?q=shop">Back to failures`) {
		t.Errorf("without a selection the answer is %d", w.Code)
	}
	started := f.post(url.Values{"do": {"replay selected"}, "id": {"1", "2", "nonsense"}})
	page, progress := f.finish(started)
	if progress["done"] != 1.0 || progress["failed"] != 1.0 || progress["total"] != 2.0 {
		t.Errorf("the progress is %v", progress)
	}
	has(t, page, "1 of 2 queued again, 1 not.", "its secret is gone", `href="/jobs/vid_0000"`)
	if n := f.open(store.DeadLetterFilter{}); n != 2 {
		t.Errorf("%d are open", n)
	}
	has(t, page, "None has failed again so far")
	failed, err := f.store.DeadLetters(t.Context(), store.DeadLetterFilter{Ended: true, IDs: []int64{1}})
	testenv.NoError(t, err)
	again := failed[0]
	again.Task, again.FailedAt = again.Task.Generation(1), time.Now()
	testenv.NoError(t, f.store.Bury(t.Context(), again))
	has(t, f.get(started.Header().Get("Location")), "1 so far")
}

func TestAllThatMatchAreReplayedButNothingNewer(t *testing.T) {
	f := newFailures(t, 600, 3)
	form := fields(t, f.get("/failures?kind=media:download"))
	// This one fails after the page was made.
	testenv.NoError(t, f.store.Bury(t.Context(), store.DeadLetter{
		Task: tasks.Task{Kind: tasks.KindMediaDownload, ID: "media:download:new"}, Job: tasks.KlingJob("vid_new"), Error: "HTTP 404", FailedAt: time.Now(),
	}))
	form.Set("do", "replay all")
	_, progress := f.finish(f.post(form))
	if progress["done"] != 600.0 || progress["failed"] != 0.0 {
		t.Errorf("the progress is %v", progress)
	}
	if all, newer := f.open(store.DeadLetterFilter{}), f.open(store.DeadLetterFilter{Job: tasks.KlingJob("vid_new")}); all != 4 || newer != 1 {
		t.Errorf("%d are open, and %d newer ones", all, newer)
	}
	if w := f.post(form); w.Code != http.StatusNotFound {
		t.Errorf("once more, the answer is %d", w.Code)
	}
}

func TestDiscardNeedsConfirmation(t *testing.T) {
	f := newFailures(t, 2, 2)
	form := url.Values{"do": {"discard all"}, "kind": {"notify:send"}}
	w := f.post(form)
	has(t, w.Body.String(), "Discard 2 failures?", `name="kind" value="notify:send"`, `name="do" value="discard all"`, `name="confirmed" value="yes"`, "<dt>Work</dt><dd><bdi>Send a notification", `href="/failures?kind=notify%3Asend"`)
	if n := f.open(store.DeadLetterFilter{}); w.Code != http.StatusOK || n != 4 {
		t.Fatalf("the answer is %d, and %d are open", w.Code, n)
	}
	form.Set("confirmed", "yes")
	page, _ := f.finish(f.post(form))
	has(t, page, "2 of 2 discarded.")
	if n := f.open(store.DeadLetterFilter{Kind: tasks.KindMediaDownload}); n != 2 || f.open(store.DeadLetterFilter{}) != 2 {
		t.Errorf("%d downloads are open", n)
	}
}

func TestOneRunAtATimeAndShutdownKeepsTheRest(t *testing.T) {
	f := newFailures(t, 3, 0)
	next := make(chan struct{})
	f.worker.before = func(store.DeadLetter) error { <-next; return nil }
	first := f.post(url.Values{"do": {"replay all"}})
	at := first.Header().Get("Location")
	next <- struct{}{}
	second := f.post(url.Values{"do": {"replay all"}})
	if second.Code != http.StatusConflict {
		t.Errorf("a second run is answered with %d", second.Code)
	}
	has(t, second.Body.String(), "Another run is under way", at)
	has(t, f.get(at), "Running", `http-equiv="refresh"`)
	closed := make(chan struct{})
	go func() { f.pages.Close(); close(closed) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for f.post(url.Values{"do": {"replay all"}}).Code != http.StatusServiceUnavailable { // until it stops
		<-tick.C
	}
	next <- struct{}{}
	<-closed
	has(t, f.get(at), "It stopped early; the rest is still open")
	if did, open := f.worker.taken(), f.open(store.DeadLetterFilter{}); did != "replay vid_0000, replay vid_0001" || open != 1 {
		t.Errorf("the worker did %s, and %d are open", did, open)
	}
	if w := get(t, f.pages, "/failures/runs/unknown"); w.Code != http.StatusNotFound {
		t.Errorf("an unknown run answers %d", w.Code)
	}
}

func TestOtherSitesCannotChangeFailures(t *testing.T) {
	f := newFailures(t, 2, 0)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/failures", strings.NewReader("do=replay+all"))
	r.Host = "localhost:5001"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	f.pages.ServeHTTP(w, r)
	if n := f.open(store.DeadLetterFilter{}); w.Code != http.StatusForbidden || n != 2 {
		t.Errorf("the answer is %d, and %d are open", w.Code, n)
	}
}

func TestViewersSeeNoButtonsAndCannotChangeAnything(t *testing.T) {
	cfg := newConfig(t)
	cfg.Worker = &fakeWorker{store: cfg.Store}
	buryMany(t, cfg.Store, 2, 0)
	gate := login.New(login.Config{ReadOnly: true, Redis: cfg.Redis, Log: zap.NewNop(), Metrics: prometheus.NewRegistry()})
	pages := gate.Protect(dashboard.New(cfg))
	page := get(t, pages, "/failures").Body.String()
	has(t, page, "2 failures", "answered 404")
	if strings.Contains(page, `name="do"`) || strings.Contains(page, `type="checkbox"`) {
		t.Error("a viewer sees buttons")
	}
	form := strings.NewReader(url.Values{"do": {"discard all"}, "confirmed": {"yes"}}.Encode())
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/failures", form)
	r.Host = "localhost:5001"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, r)
	if n, err := cfg.Store.CountDeadLetters(t.Context(), store.DeadLetterFilter{}); w.Code != http.StatusForbidden || err != nil || n != 2 {
		t.Errorf("the answer is %d, and %d are open, %v", w.Code, n, err)
	}
}

// A value that cannot be read must not select all failures.
func TestUnreadableFilterSelectsNothing(t *testing.T) {
	f := newFailures(t, 2, 0)
	for field, value := range map[string]string{"kind": "media:lost", "since": "5y", "until": "now"} {
		w := f.post(url.Values{"do": {"discard all"}, "confirmed": {"yes"}, field: {value}})
		if body := html.UnescapeString(w.Body.String()); w.Code != http.StatusBadRequest || !strings.Contains(body, strconv.Quote(value)) {
			t.Errorf("a form with %s=%s is answered with %d: %s", field, value, w.Code, body)
		}
		if w := get(t, f.pages, "/failures/new?"+url.Values{field: {value}}.Encode()); w.Code != http.StatusBadRequest {
			t.Errorf("the count of %s=%s is answered with %d", field, value, w.Code)
		}
	}
	if w := get(t, f.pages, "/failures?since=5y"); w.Code != http.StatusBadRequest {
		t.Errorf("the page of since=5y is answered with %d", w.Code)
	}
	if n := f.open(store.DeadLetterFilter{}); n != 2 {
		t.Errorf("%d failures are open, want 2", n)
	}
}
