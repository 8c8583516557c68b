package e2e

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(removeAfter{m}) }

// removeAfter removes the built programs when the tests are done.
type removeAfter struct{ *testing.M }

// Run implements the interface of testenv.Main.
func (r removeAfter) Run() int {
	code := r.M.Run()
	if set, err := built(); err == nil {
		set.Remove()
	}
	return code
}

const (
	secret        = "old-secret,s3cret"
	signingSecret = "s3cret"
	officialKey   = "an official key of the test"
	forwardKey    = "a forward key of the test"
)

// world is the outside of klinghook: where media come from and messages go to.
type world struct {
	t   *testing.T
	cdn *httptest.Server
	// receiver takes forwarded messages.
	receiver *httptest.Server

	mu       sync.Mutex // guards what follows
	failures int        // how many downloads are still to fail
	messages map[string]int
	// killed says that a worker was killed, maybe between the sending of a message and
	// its note of that: then it comes again, under the same webhook-id.
	killed bool
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, failures: 2, messages: map[string]int{}}
	w.cdn = httptest.NewServer(http.HandlerFunc(w.serveMedia))
	t.Cleanup(w.cdn.Close)
	w.receiver = httptest.NewServer(http.HandlerFunc(w.take))
	t.Cleanup(w.receiver.Close)
	return w
}

// file is what the link with this path holds.
func file(path string) []byte {
	if strings.HasSuffix(path, ".jpg") {
		return append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), path...)
	}
	return append([]byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"), bytes.Repeat([]byte(path), 50_000)...)
}

// serveMedia answers the first requests with an error, and cuts each first answer
// short, so that something is to be tried again and resumed.
func (w *world) serveMedia(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	fail := w.failures > 0
	if fail {
		w.failures--
	}
	w.mu.Unlock()
	if fail {
		http.Error(rw, "busy", http.StatusServiceUnavailable)
		return
	}
	content := file(r.URL.Path)
	rw.Header().Set("ETag", `"1"`)
	if r.Header.Get("Range") == "" && len(content) > 1000 {
		rw.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = rw.Write(content[:len(content)/2])
		return // the server cuts the connection, for more was announced
	}
	http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(content))
}

// take verifies a forwarded message as Standard Webhooks says.
func (w *world) take(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	signed := r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac(forwardKey, signed))
	if got := r.Header.Get("webhook-signature"); got != want {
		w.t.Errorf("forwarded with signature %s, want %s", got, want)
	}
	var message struct {
		Type string
		Data struct{ Job struct{ ID string } }
	}
	if err := json.Unmarshal(body, &message); err != nil {
		w.t.Errorf("forwarded message: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages[message.Type+" "+message.Data.Job.ID+" "+r.Header.Get("webhook-id")]++
}

func mac(key, text string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text))
	return h.Sum(nil)
}

// request is a delivery, signed by this test's own code.
type request struct {
	path   string
	header map[string]string
	body   string
}

func (w *world) seed(event string, minute int, job, more string) request {
	body := fmt.Sprintf(`{"event":%q,"timestamp":"2025-01-15T10:%02d:00Z","data":{"job_id":%q,"prompt":"a cat","model":"kling-v1.5"%s}}`, event, minute, job, more)
	return request{"/webhooks/klingai", map[string]string{"X-Kling-Signature": "sha256=" + hex.EncodeToString(mac(signingSecret, body))}, body}
}

func (w *world) official(id, body string) request {
	at := strconv.FormatInt(time.Now().Unix(), 10)
	return request{"/webhooks/klingai/official", map[string]string{
		"webhook-id": id, "webhook-timestamp": at,
		"webhook-signature": "v1,AAAA v1," + base64.StdEncoding.EncodeToString(mac(officialKey, id+"."+at+"."+body)),
	}, body}
}

// deliveries are the lives of several jobs, in both protocols.
func (w *world) deliveries() []request {
	link := func(name string) string { return w.cdn.URL + "/" + name + "?Signature=hush" }
	return []request{
		w.seed("video.created", 25, "vid_abc123", ""),
		w.seed("video.processing", 26, "vid_abc123", `,"progress":30`),
		w.seed("video.processing", 28, "vid_abc123", `,"progress":80`),
		w.seed("video.completed", 30, "vid_abc123", `,"status":"completed","duration":5,"video_url":"`+link("a.mp4")+`","thumbnail_url":"`+link("a.jpg")+`"`),
		w.seed("video.created", 25, "vid/../failed", ""),
		w.seed("video.failed", 27, "vid/../failed", `,"error":"content policy"`),
		w.seed("video.cancelled", 27, "vid_cancelled", ""),
		w.seed("video.upscaled", 31, "vid_abc123", ""),
		w.official("msg_1", `{"id":"881","status":"submitted","create_time":1736936700000,"update_time":1736936700000,"outputs":[]}`),
		w.official("msg_2", `{"id":"881","status":"succeeded","update_time":1736937000000,"outputs":[{"type":"video","id":"1","url":"`+link("b.mp4")+`","duration":"5.041"},{"type":"video","id":"2","url":"`+link("c.mp4")+`","duration":"5.041"}]}`),
		w.official("msg_3", `{"task_id":"882","task_status":"failed","task_status_msg":"risk control","updated_at":1736937000000}`),
	}
}

// deliver posts everything three times, in random order.
func (w *world) deliver(base string) {
	w.t.Helper()
	once := w.deliveries()
	all := append(append(append([]request{}, once...), once...), once...)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, d := range all {
		if status, answer := w.post(base, d); status != http.StatusOK || answer != `{"received": true}` {
			w.t.Fatalf("%s answered %d %s", d.body, status, answer)
		}
	}
	forged := w.seed("video.failed", 59, "vid_abc123", "")
	forged.header["X-Kling-Signature"] = "sha256=" + hex.EncodeToString(mac("guess", forged.body))
	if status, answer := w.post(base, forged); status != http.StatusUnauthorized || answer != `{"error": "Invalid signature"}` {
		w.t.Errorf("a forged delivery was answered %d %s", status, answer)
	}
}

func (w *world) post(base string, d request) (int, string) {
	w.t.Helper()
	status, answer, err := d.post(w.t.Context(), base)
	if err != nil {
		w.t.Fatal(err)
	}
	return status, answer
}

// post sends the delivery to a receiver that may not be there any more.
func (d request) post(ctx context.Context, base string) (status int, answer string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+d.path, strings.NewReader(d.body))
	if err != nil {
		return 0, "", err
	}
	for name, value := range d.header {
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	return res.StatusCode, string(content), err
}

// settings are what the programs are given; each uses its own.
func (w *world) settings(databaseURL, bucket string) map[string]string {
	return map[string]string{
		"KLINGAI_WEBHOOK_SECRET":          secret,
		"KLINGAI_OFFICIAL_WEBHOOK_SECRET": "whsec_" + base64.StdEncoding.EncodeToString([]byte(officialKey)),
		"KLINGHOOK_ADDR":                  "127.0.0.1:0",
		"KLINGHOOK_ADMIN_ADDR":            "127.0.0.1:0",
		"KLINGHOOK_DATABASE_URL":          databaseURL,
		"KLINGHOOK_BUCKET_URL":            "file://" + bucket,
		"KLINGHOOK_MEDIA_ALLOW":           w.cdn.Listener.Addr().String(),
		"KLINGHOOK_FORWARD_URLS":          w.receiver.URL,
		"KLINGHOOK_FORWARD_SECRET":        "whsec_" + base64.StdEncoding.EncodeToString([]byte(forwardKey)),
		"KLINGHOOK_LOG_FORMAT":            "json",
	}
}

// shownJob is what `klinghook jobs show --json` prints.
type shownJob struct {
	Status          string
	Progress        *int
	Prompt, Error   string
	DurationSeconds float64 `json:"duration_seconds"`
	Media           []struct {
		Name, State, Object, SHA256 string
		ContentType                 string `json:"content_type"`
		Size                        int
	}
	Notifications []struct{ Type, State string }
	Events        []struct {
		Type        string
		ProcessedAt time.Time `json:"processed_at"`
		Secret      string
	}
}

// showJob returns a job as the command shows it.
func showJob(t *testing.T, settings map[string]string, job string) (shown shownJob, err error) {
	t.Helper()
	out, err := run(t, settings, "jobs", "show", "--json", job)
	if err == nil {
		err = json.Unmarshal([]byte(out), &shown)
	}
	return shown, err
}

// summary is a job in one line, to be compared.
func (j shownJob) summary() string {
	var parts []string
	for _, m := range j.Media {
		parts = append(parts, m.Name+" "+m.State)
	}
	for _, n := range j.Notifications {
		parts = append(parts, n.Type+" "+n.State)
	}
	for _, ev := range j.Events {
		if ev.ProcessedAt.IsZero() {
			parts = append(parts, ev.Type+" unprocessed")
		}
	}
	return fmt.Sprintf("%s, %d events: %s", j.Status, len(j.Events), strings.Join(parts, ", "))
}

// check waits until every job has come to its end, and looks at what is left.
func (w *world) check(settings map[string]string, bucket string) {
	w.t.Helper()
	want := map[string]string{
		"vid_abc123":    "completed, 5 events: thumbnail stored, video stored, video.completed sent",
		"vid/../failed": "failed, 2 events: video.failed sent",
		"vid_cancelled": "cancelled, 1 events: video.cancelled sent",
		"881":           "completed, 2 events: video stored, video-2 stored, video.completed sent",
		"882":           "failed, 1 events: video.failed sent",
	}
	got := map[string]shownJob{}
	for job, summary := range want {
		eventually(w.t, "job "+job, func() (bool, string) {
			shown, err := showJob(w.t, settings, job)
			if err != nil {
				return false, err.Error()
			}
			got[job] = shown
			return shown.summary() == summary, shown.summary()
		})
	}
	if j := got["vid_abc123"]; j.Prompt != "a cat" || j.DurationSeconds != 5 || j.Progress == nil || *j.Progress != 100 {
		w.t.Errorf("job is %+v", j)
	}
	if j := got["882"]; j.Error != "risk control" {
		w.t.Errorf("job's error is %q", j.Error)
	}
	for object, path := range map[string]string{
		"vid_abc123/video.mp4": "/a.mp4", "vid_abc123/thumbnail.jpg": "/a.jpg", "881/video.mp4": "/b.mp4", "881/video-2.mp4": "/c.mp4",
	} {
		w.checkObject(got, bucket, object, file(path))
	}
	w.checkMessages()
}

// checkObject holds an object against what was served, and its row against it.
func (w *world) checkObject(jobs map[string]shownJob, bucket, object string, want []byte) {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join(bucket, object))
	if err != nil || !bytes.Equal(content, want) {
		w.t.Errorf("object %s: %d bytes, %v; want the %d that were served", object, len(content), err, len(want))
	}
	sum := sha256.Sum256(want)
	for _, m := range jobs[filepath.Dir(object)].Media {
		if m.Object == object && m.SHA256 == hex.EncodeToString(sum[:]) && m.Size == len(want) {
			return
		}
	}
	w.t.Errorf("no row tells of %s with its size and SHA-256: %+v", object, jobs[filepath.Dir(object)].Media)
}

func (w *world) checkMessages() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	told := map[string]int{}
	for message, times := range w.messages {
		if w.killed {
			times = 1
		}
		told[message[:strings.LastIndexByte(message, ' ')]] += times
	}
	for _, message := range []string{"video.completed vid_abc123", "video.failed vid/../failed", "video.cancelled vid_cancelled", "video.completed 881", "video.failed 882"} {
		if told[message] != 1 {
			w.t.Errorf("%q was forwarded %d times", message, told[message])
		}
		delete(told, message)
	}
	if len(told) > 0 {
		w.t.Errorf("forwarded besides: %v", told)
	}
}

// databases returns an address of each kind of database.
func databases(t *testing.T) map[string]func(t *testing.T) string {
	t.Helper()
	return map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "k.db") },
		"postgres": func(t *testing.T) string { return testenv.Postgres(t) },
	}
}

// TestProduction runs ingest and worker as two processes on a real Redis.
func TestProduction(t *testing.T) {
	for name, database := range databases(t) {
		t.Run(name, func(t *testing.T) {
			w, bucket := newWorld(t), t.TempDir()
			settings := w.settings(database(t), bucket)
			settings["KLINGHOOK_REDIS_URL"] = testenv.Redis(t).URL()
			if _, err := run(t, settings, "worker"); err == nil || !strings.Contains(err.Error(), "klinghook migrate") {
				t.Errorf("a worker on an empty database: %v, want that it names the command", err)
			}
			if _, err := run(t, settings, "migrate"); err != nil {
				t.Fatal(err)
			}
			ingest := start(t, "klinghook-ingest", settings)
			w.deliver("http://" + ingest.Address("webhooks"))
			worker := start(t, "klinghook", settings, "worker")
			w.check(settings, bucket)
			worker.Stop()
			ingest.Stop()
		})
	}
}

// TestDev runs everything in one process on the embedded queue.
func TestDev(t *testing.T) {
	for name, database := range databases(t) {
		t.Run(name, func(t *testing.T) {
			w, bucket := newWorld(t), t.TempDir()
			settings := w.settings(database(t), bucket)
			settings["KLINGHOOK_DATA"] = t.TempDir()
			dev := start(t, "klinghook", settings, "dev")
			w.deliver("http://" + dev.Address("webhooks"))
			w.check(settings, bucket)
			dev.Stop()
		})
	}
}
