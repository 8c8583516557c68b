package worker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/klinghook/klinghook/internal/simulate"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
	"github.com/klinghook/klinghook/worker"
	"github.com/klinghook/klinghook/worker/media"
	"github.com/klinghook/klinghook/worker/notify"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// video is recognised as MP4 by http.DetectContentType.
const video = "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom and so on"

// fixture is a worker with its own queue, database and bucket, a server that it
// downloads from and one that it forwards to.
type fixture struct {
	cfg       worker.Config
	worker    *worker.Worker
	redis     *redis.Client
	queue     *tasks.Client
	inspector *asynq.Inspector
	store     *store.Store
	bucket    string
	logs      *observer.ObservedLogs

	cdn *httptest.Server
	// serve answers for the cdn.
	serve http.HandlerFunc

	// receiver is the URL that messages are forwarded to.
	receiver string

	mu sync.Mutex // guards forwarded
	// forwarded are the received messages by webhook-id.
	forwarded map[string][]forwarded
}

type forwarded struct {
	Type string
	Data struct {
		Job   struct{ ID string }
		Media []struct {
			DownloadURL string `json:"download_url"`
		}
	}
}

func newFixture(t testing.TB, redisAddr string, grace time.Duration) *fixture {
	t.Helper()
	return newFixtureOn(t, redisAddr, "sqlite:"+filepath.Join(t.TempDir(), "k.db"), grace)
}

func newFixtureOn(t testing.TB, redisAddr, databaseURL string, grace time.Duration) *fixture {
	t.Helper()
	f := &fixture{bucket: t.TempDir(), forwarded: map[string][]forwarded{}}
	f.serve = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, video) }
	f.cdn = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(w, r) }))
	t.Cleanup(f.cdn.Close)
	receiver := httptest.NewServer(http.HandlerFunc(f.take))
	t.Cleanup(receiver.Close)

	rdb := redis.NewClient(&redis.Options{Addr: redisAddr})
	t.Cleanup(func() { _ = rdb.Close() })
	f.redis = rdb
	f.queue, f.inspector = tasks.NewClient(rdb), asynq.NewInspectorFromRedisClient(rdb)
	var err error
	if f.store, err = store.Create(t.Context(), databaseURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.store.Close() })
	_, err = f.store.Migrate(t.Context())
	testenv.NoError(t, err)
	bucket, err := media.OpenBucket(t.Context(), "file://"+f.bucket)
	testenv.NoError(t, err)
	t.Cleanup(func() { _ = bucket.Close() })
	f.receiver = receiver.URL
	notifier := f.notifier(t, 0)
	sources, err := source.All(source.NoSecrets)
	testenv.NoError(t, err)
	core, logs := observer.New(zapcore.InfoLevel)
	f.logs = logs
	f.cfg = worker.Config{
		Redis: rdb, Store: f.store, Sources: sources, Bucket: bucket, Notify: notifier,
		Fetcher:     media.NewFetcher(media.Config{Allow: []string{f.cdn.Listener.Addr().String()}}),
		Concurrency: map[string]int{"events": 8, "media": 4, "notify": 4},
		Grace:       grace, Log: zap.New(core),
	}
	f.renew(t)
	return f
}

// notifier returns a notifier that forwards rate messages a second to the receiver.
func (f *fixture) notifier(t testing.TB, rate float64) *notify.Notifier {
	t.Helper()
	n, err := notify.New(notify.Config{
		ForwardURLs: []string{f.receiver}, ForwardSecret: "whsec_c2VjcmV0LW9mLXRoZS10ZXN0", Rate: rate,
		Events: []string{tasks.TypeCompleted, tasks.TypeFailed, tasks.TypeLost},
	})
	testenv.NoError(t, err)
	t.Cleanup(n.Close)
	return n
}

// renew makes another worker, like a restart, because a worker can be started only once.
func (f *fixture) renew(t testing.TB) {
	t.Helper()
	f.cfg.Metrics = prometheus.NewRegistry()
	var err error
	if f.worker, err = worker.New(f.cfg); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until done reports true.
func (f *fixture) eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			for _, entry := range f.logs.All() {
				t.Logf("%s %s %v", entry.Time.Format(time.TimeOnly), entry.Message, entry.ContextMap())
			}
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func (f *fixture) take(w http.ResponseWriter, r *http.Request) {
	var m forwarded
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.Header.Get("webhook-id")
	f.forwarded[id] = append(f.forwarded[id], m)
}

// webhookSecret signs the deliveries.
const webhookSecret = "right"

// signed returns the signature headers of a body.
func signed(t *testing.T, body string) map[string]string {
	t.Helper()
	header, err := simulate.Seed.Sign(webhookSecret, "", time.Now(), []byte(body))
	testenv.NoError(t, err)
	return map[string]string{"X-Kling-Signature": header.Get("X-Kling-Signature")}
}

// deliver enqueues a body like ingest.
func (f *fixture) deliver(t *testing.T, protocol, sender, eventType, job, body string) tasks.Task {
	t.Helper()
	task, err := tasks.RecordEvent(tasks.Event{
		ID: tasks.EventID(protocol, sender, []byte(body)), Source: protocol, Type: eventType, Job: tasks.KlingJob(job), ReceivedAt: time.Now(),
		Headers: signed(t, body), Body: []byte(body),
	})
	testenv.NoError(t, err)
	_, err = f.queue.Enqueue(t.Context(), task)
	testenv.NoError(t, err)
	return task
}

func (f *fixture) deliverSeed(t *testing.T, event, job, more string) tasks.Task {
	t.Helper()
	return f.deliver(t, "klingai", "", event, job, `{"event":"`+event+`","timestamp":"2025-01-15T10:30:00Z","data":{"job_id":"`+job+`"`+more+`}}`)
}

// work runs the worker until no task is pending or active.
func (f *fixture) work(t *testing.T) {
	t.Helper()
	testenv.NoError(t, f.worker.Start(t.Context()))
	defer f.worker.Shutdown()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	testenv.NoError(t, f.worker.Drain(ctx))
}

func (f *fixture) start(t *testing.T) {
	t.Helper()
	testenv.NoError(t, f.worker.Start(t.Context()))
	t.Cleanup(f.worker.Shutdown)
}

func (f *fixture) sweep(t *testing.T) {
	t.Helper()
	testenv.NoError(t, f.worker.Sweep(t.Context()))
}

// checkMedia checks the state of a job's video and a part of its error.
func (f *fixture) checkMedia(t *testing.T, job string, want store.MediaState, reason string) {
	t.Helper()
	m, err := f.store.Medium(t.Context(), tasks.KlingJob(job), "video")
	if err != nil || m.State != want || !strings.Contains(m.Error, reason) {
		t.Errorf("video of %s is %s (%s), %v; want %s (%s)", job, m.State, m.Error, err, want, reason)
	}
}

// metrics returns the worker's counters and gauges, by name and values of the labels.
func (f *fixture) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	registry, _ := f.cfg.Metrics.(*prometheus.Registry)
	families, err := registry.Gather()
	testenv.NoError(t, err)
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

// sent returns the type and job of every message that the receiver got.
func (f *fixture) sent() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var sent []string
	for _, id := range slices.Sorted(maps.Keys(f.forwarded)) {
		for _, m := range f.forwarded[id] {
			sent = append(sent, m.Type+" "+m.Data.Job.ID)
		}
	}
	return sent
}

func (f *fixture) deadLetters(t *testing.T) []store.DeadLetter {
	t.Helper()
	list, err := f.store.DeadLetters(t.Context(), store.DeadLetterFilter{})
	testenv.NoError(t, err)
	return list
}

// checkLetters checks the number of open dead letters and returns them.
func (f *fixture) checkLetters(t *testing.T, want int) []store.DeadLetter {
	t.Helper()
	list := f.deadLetters(t)
	if len(list) != want {
		t.Fatalf("dead letters %+v, want %d", list, want)
	}
	return list
}

// checkJob checks the status of a job; empty if it has no row.
func (f *fixture) checkJob(t *testing.T, id string, want tasks.Status) {
	t.Helper()
	j, err := f.store.Job(t.Context(), tasks.KlingJob(id))
	if j.Status != want || (err == nil) != (want != "") {
		t.Errorf("job %s is %q, %v; want %q", id, j.Status, err, want)
	}
}

func (f *fixture) state(t *testing.T, task tasks.Task, queue string) *asynq.TaskInfo {
	t.Helper()
	info, err := f.inspector.GetTaskInfo(queue, task.ID)
	testenv.NoError(t, err)
	return info
}

// onRedis runs a test on a real Redis and on dev's, both at once.
func onRedis(t *testing.T, f func(t *testing.T, addr string)) {
	t.Helper()
	for name, start := range map[string]func(t *testing.T) string{
		"redis":     func(t *testing.T) string { return testenv.Redis(t).Addr() },
		"miniredis": func(t *testing.T) string { return miniredis.RunT(t).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, start(t))
		})
	}
}

// completedAt delivers a completed event with a link to path.
func (f *fixture) completedAt(t *testing.T, minute, job, path string) {
	t.Helper()
	f.deliver(t, "klingai", "", tasks.TypeCompleted, job,
		`{"event":"video.completed","timestamp":"2025-01-15T10:`+minute+`:00Z","data":{"job_id":"`+job+`","video_url":"`+f.cdn.URL+path+`"}}`)
}

// checkVideo checks that the bucket and the row have a job's video from a path.
func (f *fixture) checkVideo(t *testing.T, job, path string) {
	t.Helper()
	m, err := f.store.Medium(t.Context(), tasks.KlingJob(job), "video")
	testenv.NoError(t, err)
	content, err := os.ReadFile(filepath.Join(f.bucket, job, "video.mp4"))
	if err != nil || string(content) != video+path {
		t.Errorf("%s has %q, %v; want what %s serves", job, content, err, path)
	}
	sum := sha256.Sum256(content)
	if m.State != store.MediaStored || m.SHA256 != hex.EncodeToString(sum[:]) || m.Size != int64(len(content)) {
		t.Errorf("the row of %s is %s with %d bytes of %s; the object has other bytes", job, m.State, m.Size, m.SHA256)
	}
}
