package chaos

import (
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
)

// event is something that happened at Kling, as this suite's sender tells it.
type event struct {
	// id is what klinghook must keep it under.
	id string
	// path is the endpoint that it is posted to.
	path string
	// webhookID is the official protocol's id of it.
	webhookID string
	body      []byte
	says      says
}

// says is what an event means, for the model.
type says struct {
	job, kind     string
	at            time.Time
	progress      int // -1 where it says nothing of that
	prompt, cause string
	files         map[string]string // the path that the link leads to, by the file's name
}

// The kinds of events, in the words of klinghook's store.
const (
	created    = "video.created"
	processing = "video.processing"
	completed  = "video.completed"
	failed     = "video.failed"
	cancelled  = "video.cancelled"
)

// header signs the event as its protocol does, with this suite's own code.
func (e *event) header(secretSuffix string, now time.Time) http.Header {
	h := make(http.Header)
	if e.path == seedPath {
		h.Set("X-Kling-Signature", "sha256="+hex.EncodeToString(mac(seedSecret+secretSuffix, e.body)))
		return h
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	signed := append([]byte(e.webhookID+"."+timestamp+"."), e.body...)
	h.Set("webhook-id", e.webhookID)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac(officialKey+secretSuffix, signed)))
	return h
}

func mac(key string, text []byte) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write(text)
	return h.Sum(nil)
}

// script makes up jobs and their events.
type script struct {
	rng *rand.Rand
	// media is the address of the server that links lead to.
	media string
	// prefix keeps the jobs of two scripts apart.
	prefix string
	n      int
}

// endings are how a job's life may end, more likely ones more often.
func endings() [][]string {
	return [][]string{
		{completed}, {completed}, {completed}, {completed}, {completed}, {completed},
		{failed}, {cancelled}, {failed}, {cancelled},
		{completed, completed}, {failed, completed}, {failed, cancelled}, {cancelled, failed}, {},
	}
}

// job returns the events of a new job's life, in order.
func (s *script) job() []event {
	s.n++
	list := endings()
	kinds := []string{created}
	for range s.rng.IntN(3) {
		kinds = append(kinds, processing)
	}
	kinds = append(kinds, list[s.rng.IntN(len(list))]...)
	job := fmt.Sprintf("%s-%04d", s.prefix, s.n)
	if s.rng.IntN(8) == 0 {
		job = fmt.Sprintf("%s/é %04d", s.prefix, s.n) // an id that is no file name
	}
	official := s.rng.IntN(3) == 0
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

// seed makes an event of the registered webhooks' protocol.
func (s *script) seed(said says, i int) event {
	said.prompt = fmt.Sprintf("a lighthouse at dawn, take %d", i)
	data := map[string]any{"job_id": said.job, "prompt": said.prompt, "model": "kling-v1.5"}
	switch said.kind {
	case processing:
		said.progress = s.rng.IntN(100)
		data["progress"] = said.progress
	case completed:
		// Every other time it is the same file by a new link, else another file.
		take := i * s.rng.IntN(2)
		said.files = map[string]string{
			"video":     fmt.Sprintf("/%s/%d/%d/video.mp4", s.prefix, s.n, take),
			"thumbnail": fmt.Sprintf("/%s/%d/%d/thumbnail.jpg", s.prefix, s.n, take),
		}
		data["video_url"], data["thumbnail_url"] = s.link(said.files["video"], i), s.link(said.files["thumbnail"], i)
		data["duration"] = 5
	case failed, cancelled:
		said.cause = fmt.Sprintf("%s, says event %d", said.kind, i)
		data["error"] = said.cause
	}
	body := encode(map[string]any{"event": said.kind, "timestamp": said.at.Format(time.RFC3339), "data": data})
	sum := sha256.Sum256(body)
	return event{id: "klingai:" + hex.EncodeToString(sum[:]), path: seedPath, body: body, says: said}
}

// official makes a callback, in either of Kling's two forms.
func (s *script) official(said says, i int) event {
	status := map[string]string{created: "submitted", processing: "processing", completed: "succeed", failed: "failed", cancelled: "cancelled"}[said.kind]
	var videos []map[string]any
	if said.kind == completed {
		said.files = map[string]string{}
		for n, name := range []string{"video", "video-2"}[:1+s.rng.IntN(2)] {
			said.files[name] = fmt.Sprintf("/%s/%d/%s.mp4", s.prefix, s.n, name)
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
	webhookID := fmt.Sprintf("msg_%s_%d_%d", s.prefix, s.n, i)
	return event{id: "klingai-official:" + webhookID, path: officialPath, webhookID: webhookID, body: body, says: said}
}

// link is a link to a file, signed for a while as Kling's are.
func (s *script) link(path string, i int) string {
	return fmt.Sprintf("http://%s%s?signature=%d", s.media, path, i)
}

func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of texts and numbers can be encoded
	}
	return body
}
