package dashboard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/admin/dashboard"
	"github.com/klinghook/klinghook/internal/admin/login"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

const (
	operatorToken = "operator-0123456789abcdef-0123456789"
	viewerToken   = "viewer-0123456789abcdef-0123456789ab"
	signedLink    = "https://me:hunter2@cdn.example/v.mp4?sig=hunter2"
)

// apiServer is klinghook admin with an operator's and a viewer's token.
type apiServer struct {
	t      *testing.T
	url    string // with the prefix
	db     *store.Store
	cfg    dashboard.Config
	bucket *memoryBucket
	worker *fakeWorker
	stop   func()
}

func newAPIServer(t *testing.T, change ...func(*dashboard.Config)) *apiServer {
	t.Helper()
	s := &apiServer{t: t, bucket: &memoryBucket{}, worker: &fakeWorker{}}
	s.cfg = newConfig(t)
	stop := make(chan struct{})
	s.stop = sync.OnceFunc(func() { close(stop) })
	s.cfg.Prefix, s.cfg.Bucket, s.cfg.Worker, s.cfg.Stop = "/k", s.bucket, s.worker, stop
	s.cfg.Erase = func(ctx context.Context, job tasks.JobKey) error {
		testenv.NoError(t, s.db.BeginErasure(ctx, job, time.Now()))
		_, err := s.db.EraseRows(ctx, job)
		return err
	}
	for _, f := range change {
		f(&s.cfg)
	}
	s.db, s.worker.store = s.cfg.Store, s.cfg.Store
	gate := login.New(login.Config{
		Tokens: []string{operatorToken}, ViewerTokens: []string{viewerToken}, Prefix: s.cfg.Prefix, Redis: s.cfg.Redis, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(),
	})
	pages := dashboard.New(s.cfg)
	server := httptest.NewServer(admin.Handler(admin.Config{
		Live: http.NotFound, Ready: http.NotFound, Metrics: prometheus.NewRegistry(), Prefix: s.cfg.Prefix, Dashboard: gate.Protect(pages), Login: gate,
	}))
	t.Cleanup(func() {
		s.stop()
		server.Close()
		pages.Close()
	})
	s.url = server.URL + s.cfg.Prefix
	return s
}

// send sends a request with the operator's token unless headers, in pairs, have another.
func (s *apiServer) send(method, path, body string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	testenv.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	testenv.NoError(s.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	testenv.NoError(s.t, err)
	return res, string(text)
}

// read decodes the answer to a GET.
func read[T any](s *apiServer, path string) (v T) {
	s.t.Helper()
	res, text := s.send("GET", path, "")
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s answers %d %s", path, res.StatusCode, text)
	}
	testenv.NoError(s.t, json.Unmarshal([]byte(text), &v))
	return v
}

// record records an event of jobs.
func (s *apiServer) record(id string, status tasks.Status, more ...string) {
	s.t.Helper()
	var list []store.Recording
	for _, id := range append([]string{id}, more...) {
		job := tasks.KlingJob(id)
		event := tasks.Event{
			ID: "klingai:" + tasks.SafeID(id) + "-" + string(status), Source: "klingai", Type: status.EventType(), Job: job, ReceivedAt: time.Now(),
			Headers: map[string]string{"X-Kling-Signature": "sha256=hunter2"}, Body: []byte(`{"event":"` + string(status) + `","video_url":"` + signedLink + `"}`),
		}
		update := &tasks.JobUpdate{Job: job, EventID: event.ID, OccurredAt: event.ReceivedAt, Status: status, Model: "kling-v2"}
		if status == tasks.StatusCompleted {
			update.Media = []tasks.MediaLink{{Name: "video", URL: signedLink}}
		}
		list = append(list, store.Recording{Event: event, Update: update, Destinations: []string{"shop"}})
	}
	_, err := s.db.Record(s.t.Context(), list, time.Time{})
	testenv.NoError(s.t, err)
}

// keep stores the video of a job.
func (s *apiServer) keep(id, contentType, content string) {
	s.t.Helper()
	file := store.Media{Job: tasks.KlingJob(id), Name: "video", URL: signedLink, Object: tasks.SafeID(id) + "/video.mp4", Size: int64(len(content)), SHA256: "5ha", ContentType: contentType}
	s.bucket.put(file.Object, []byte(content))
	_, err := s.db.StoreMedia(s.t.Context(), file, time.Now(), func() error { return nil })
	testenv.NoError(s.t, err)
}

// bury adds a dead letter of a download and returns its id.
func (s *apiServer) bury(id, reason string) int64 {
	s.t.Helper()
	task, err := tasks.DownloadMedia(tasks.KlingJob(id), "video", signedLink)
	testenv.NoError(s.t, err)
	testenv.NoError(s.t, s.db.Bury(s.t.Context(), store.DeadLetter{Task: task, Job: tasks.KlingJob(id), Error: reason, FailedAt: time.Now(), Failures: []store.Failure{{Attempt: 1, At: time.Now(), Error: reason}}}))
	letters, err := s.db.DeadLetters(s.t.Context(), store.DeadLetterFilter{Newest: true, Limit: 1})
	testenv.NoError(s.t, err)
	return letters[0].ID
}

// memoryBucket contains objects by name, and signed links by "link of " and the name. It
// implements [dashboard.Bucket].
type memoryBucket struct{ objects sync.Map }

func (b *memoryBucket) put(object string, content []byte) { b.objects.Store(object, content) }

func (b *memoryBucket) find(object string) (content []byte, found bool) {
	value, _ := b.objects.Load(object)
	content, found = value.([]byte)
	return content, found
}

// Open implements [dashboard.Bucket].
func (b *memoryBucket) Open(_ context.Context, object string) (io.ReadSeekCloser, error) {
	content, found := b.find(object)
	if !found {
		return nil, fs.ErrNotExist
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(content), io.NopCloser(nil)}, nil
}

// SignedURL implements [dashboard.Bucket].
func (b *memoryBucket) SignedURL(_ context.Context, object string, lifetime time.Duration) (string, error) {
	if link, found := b.find("link of " + object); found && lifetime > 0 {
		return string(link), nil
	}
	return "", nil
}

// fakeWorker records its calls, and ends dead letters. It implements
// [dashboard.Repeater].
type fakeWorker struct {
	store *store.Store
	// before, if set, is called before a dead letter ends; an error keeps it open.
	before func(store.DeadLetter) error
	// notified is how many destinations Notify finds.
	notified int

	mu   sync.Mutex // guards list
	list []string
}

func (w *fakeWorker) note(call ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, strings.TrimSpace(strings.Join(call, " ")))
}

// taken returns and forgets the calls so far.
func (w *fakeWorker) taken() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.list = nil }()
	return strings.Join(w.list, ", ")
}

func (w *fakeWorker) Replay(ctx context.Context, id int64) (bool, error) {
	return w.end(ctx, "replay", id, store.DeadLetterReplayed)
}

func (w *fakeWorker) Discard(ctx context.Context, id int64) (bool, error) {
	return w.end(ctx, "discard", id, store.DeadLetterDiscarded)
}

func (w *fakeWorker) end(ctx context.Context, action string, id int64, state store.DeadLetterState) (bool, error) {
	letters, err := w.store.DeadLetters(ctx, store.DeadLetterFilter{IDs: []int64{id}})
	if err != nil || len(letters) == 0 {
		return false, err
	}
	if w.before != nil {
		if err := w.before(letters[0]); err != nil {
			return false, err
		}
	}
	w.note(action, letters[0].Job.ID)
	err = w.store.EndDeadLetter(ctx, letters[0], state, time.Now())
	return err == nil, err
}

func (w *fakeWorker) Download(_ context.Context, job tasks.JobKey, name string) (int, error) {
	w.note("download", job.ID, name)
	switch name {
	case "nothing":
		return 0, nil
	case "":
		return 2, nil
	}
	return 1, nil
}

func (w *fakeWorker) Notify(_ context.Context, job tasks.JobKey, destinations []string) (int, error) {
	w.note("notify", job.ID, strings.Join(destinations, "+"))
	return w.notified + len(destinations), nil
}
