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
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	seedPath     = "/webhooks/klingai"
	officialPath = "/webhooks/klingai/official"

	seedSecret  = "the registered webhook's secret"
	officialKey = "an official key of the suite"
	forwardKey  = "a forward key of the suite"

	// received and forged are the answers to a delivery with a right and a wrong signature.
	received = `{"received": true}`
	forged   = `{"error": "Invalid signature"}`
)

// event is an event at Kling, signed and sent with this suite's own code.
type event struct {
	id        string // its idempotency key at klinghook
	path      string // the endpoint
	webhookID string // the official protocol's
	body      []byte
	says      says
}

// seedEvent returns an event of the registered webhooks' protocol.
func seedEvent(body string) event {
	return event{id: "klingai:" + sha([]byte(body)), path: seedPath, body: []byte(body)}
}

// officialEvent returns a callback with a signature.
func officialEvent(webhookID, body string) event {
	return event{id: "klingai-official:" + webhookID, path: officialPath, webhookID: webhookID, body: []byte(body)}
}

// says is what an event means, for the model.
type says struct {
	job, kind     string
	at            time.Time
	progress      int // -1 if it has none
	prompt, cause string
	milliseconds  int               // the length of the video
	files         map[string]string // the path of the link, by the file's name
}

// The kinds of events, as klinghook stores them.
const (
	created    = "video.created"
	processing = "video.processing"
	completed  = "video.completed"
	failed     = "video.failed"
	cancelled  = "video.cancelled"
	upscaled   = "video.upscaled" // not known to klinghook
)

// header signs the event as its protocol does; a suffix makes it a forgery.
func (e *event) header(secretSuffix string) http.Header {
	h := make(http.Header)
	if e.path == seedPath {
		h.Set("X-Kling-Signature", "sha256="+hex.EncodeToString(mac(seedSecret+secretSuffix, e.body)))
		return h
	}
	if e.webhookID == "" {
		return h // unsigned
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	signed := append([]byte(e.webhookID+"."+timestamp+"."), e.body...)
	h.Set("webhook-id", e.webhookID)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", "v1,AAAA v1,"+base64.StdEncoding.EncodeToString(mac(officialKey+secretSuffix, signed)))
	return h
}

// post delivers the event and returns the answer, if all of it was read.
func (e *event) post(ctx context.Context, client *http.Client, base, secretSuffix string) (status int, answer string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+e.path, bytes.NewReader(e.body))
	if err != nil {
		return 0, "", err
	}
	r.Header = e.header(secretSuffix)
	return send(client, r)
}

// sha returns a SHA-256 in hex.
func sha(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func mac(key string, text []byte) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write(text)
	return h.Sum(nil)
}

// script makes up jobs and their events.
type script struct {
	rng   *rand.Rand
	media string // the address of the server in links
	n     int
}

func newScript(seed uint64, media string) *script {
	return &script{rng: rand.New(rand.NewPCG(seed, 1)), media: media}
}

// endings are the last events of a job; likely ones are repeated.
func endings() [][]string {
	return [][]string{
		{completed}, {completed}, {completed}, {completed}, {completed}, {completed},
		{failed}, {cancelled}, {failed}, {cancelled},
		{completed, completed}, {failed, completed}, {failed, cancelled}, {cancelled, failed}, {},
	}
}

// job returns the events of a new job, in order.
func (s *script) job() []event {
	s.n++
	list := endings()
	kinds := []string{created}
	for range s.rng.IntN(3) {
		kinds = append(kinds, processing)
	}
	kinds = append(kinds, list[s.rng.IntN(len(list))]...)
	job := fmt.Sprintf("job-%04d", s.n)
	if s.rng.IntN(8) == 0 {
		job = fmt.Sprintf("job/é %04d", s.n) // not a file name
	}
	official := s.rng.IntN(3) == 0
	if !official && s.rng.IntN(5) == 0 {
		kinds = append(kinds, upscaled)
	}
	start := time.Now().Add(-time.Hour).Truncate(time.Second).Add(time.Duration(s.n) * time.Second)
	var events []event
	for i, kind := range kinds {
		said := says{job: job, kind: kind, at: start.Add(time.Duration(i) * time.Minute).UTC(), progress: -1}
		if official {
			events = append(events, s.official(said, i))
		} else {
			events = append(events, s.seed(said, i))
		}
	}
	return events
}

// seed returns an event of the registered webhooks' protocol.
func (s *script) seed(said says, i int) event {
	said.prompt = fmt.Sprintf("a lighthouse at dawn, take %d", i)
	data := map[string]any{"job_id": said.job, "prompt": said.prompt, "model": "kling-v1.5"}
	switch said.kind {
	case processing:
		said.progress = s.rng.IntN(100)
		data["progress"] = said.progress
	case completed:
		// Half of them are the same file with a new link, the others another file.
		take := i * s.rng.IntN(2)
		said.files = map[string]string{
			"video":     fmt.Sprintf("/%d/%d/video.mp4", s.n, take),
			"thumbnail": fmt.Sprintf("/%d/%d/thumbnail.jpg", s.n, take),
		}
		data["video_url"], data["thumbnail_url"] = s.link(said.files["video"], i), s.link(said.files["thumbnail"], i)
		data["duration"], said.milliseconds = 5, 5000
	case failed, cancelled:
		said.cause = fmt.Sprintf("%s, says event %d", said.kind, i)
		data["error"] = said.cause
	case upscaled:
		said.prompt = "" // ignored
	}
	body := encode(map[string]any{"event": said.kind, "timestamp": said.at.Format(time.RFC3339), "data": data})
	e := seedEvent(string(body))
	e.says = said
	return e
}

// official returns a callback, in either of Kling's two forms.
func (s *script) official(said says, i int) event {
	status := map[string]string{created: "submitted", processing: "processing", completed: "succeed", failed: "failed", cancelled: "cancelled"}[said.kind]
	var videos []map[string]any
	if said.kind == completed {
		said.files, said.milliseconds = map[string]string{}, 5100
		for n, name := range []string{"video", "video-2"}[:1+s.rng.IntN(2)] {
			said.files[name] = fmt.Sprintf("/%d/%s.mp4", s.n, name)
			videos = append(videos, map[string]any{"id": strconv.Itoa(n), "url": s.link(said.files[name], i), "duration": "5.1"})
		}
	}
	message := ""
	if said.kind == failed {
		message = fmt.Sprintf("risk control, says event %d", i)
		said.cause = message
	}
	var body []byte
	if s.n%2 == 0 {
		body = encode(map[string]any{"task_id": said.job, "task_status": status, "task_status_msg": message,
			"updated_at": said.at.UnixMilli(), "task_result": map[string]any{"videos": videos}})
	} else {
		body = encode(map[string]any{"id": said.job, "status": status, "message": message,
			"update_time": said.at.UnixMilli(), "outputs": videos})
	}
	e := officialEvent(fmt.Sprintf("msg_%d_%d", s.n, i), string(body))
	e.says = said
	return e
}

// link is a link to a file, with a signature as Kling's have.
func (s *script) link(path string, i int) string {
	return fmt.Sprintf("http://%s%s?signature=%d", s.media, path, i)
}

func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // impossible for maps of strings and numbers
	}
	return body
}
