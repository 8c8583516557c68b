package simulate

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// CallbackFormat is how callbacks are written and signed.
type CallbackFormat string

// The protocols.
const (
	// Official is the body with "id" and "status", signed as in Standard Webhooks.
	Official CallbackFormat = "official"
	// OfficialLegacy is the body with "task_id" and "task_status", signed likewise.
	OfficialLegacy CallbackFormat = "official-legacy"
	// Seed is the body with "event" and "data", signed in X-Kling-Signature.
	Seed CallbackFormat = "seed"
	// AsCreated, for a Config, is Official for jobs that were created in the new form,
	// and OfficialLegacy for those in the legacy form, as Kling does.
	AsCreated CallbackFormat = "as-created"
)

// State is a state of a job.
type State string

// The states. Only the Seed protocol has Cancelled; the others report Failed instead.
const (
	Submitted  State = "submitted"
	Processing State = "processing"
	Succeeded  State = "succeeded"
	Failed     State = "failed"
	Cancelled  State = "cancelled"
)

// Point is a change in the life of a job.
type Point struct {
	Status   State
	Progress int     // percent
	After    float64 // share of the job's duration
}

// Life returns the changes of a job that ends in the given status.
func Life(end State) []Point {
	return []Point{{Submitted, 0, 0}, {Processing, 25, 0.25}, {Processing, 75, 0.75}, {end, 100, 1}}
}

const (
	failure      = "the prompt was refused by the content check"
	cancellation = "the task was cancelled"
)

// Update is the report of a job in a callback or an answer of the API.
type Update struct {
	JobID, ExternalID, Prompt, Model string

	Status   State
	Progress int // percent
	// Event names the event in the Seed protocol. Default the event of the status.
	Event string

	Created, At time.Time

	// The results of a job that succeeded. Only the Seed protocol has thumbnails, and
	// only the others have several videos; they all have the same URL.
	VideoURL, ThumbnailURL string
	Seconds                int // length of the video
	Videos                 int
	// NoMedia leaves the results out.
	NoMedia bool

	drift drift
}

// drift selects undocumented shapes for the report of a job: the other form's word for
// success, an object instead of a list or the reverse, numbers as strings.
type drift struct{ status, data, numbers bool }

// Body writes the update in a protocol. Equal updates give equal bytes.
func (u Update) Body(p CallbackFormat) ([]byte, error) {
	switch p {
	case Seed:
		return encode(u.seed())
	case OfficialLegacy:
		return encode(u.legacy())
	}
	return encode(u.official())
}

func (u Update) seed() map[string]any {
	event := u.Event
	if event == "" {
		event = SeedEvent(u.Status)
	}
	data := map[string]any{
		"job_id": u.JobID, "status": strings.TrimPrefix(event, "video."),
		"prompt": u.Prompt, "model": u.Model, "created_at": u.Created.Format(time.RFC3339),
	}
	switch u.Status {
	case Processing:
		data["progress"] = u.Progress
	case Succeeded:
		if !u.NoMedia {
			data["video_url"], data["thumbnail_url"] = u.VideoURL, u.ThumbnailURL
		}
		data["duration"], data["completed_at"] = u.Seconds, u.At.Format(time.RFC3339)
	case Failed:
		data["error"] = failure
	}
	return map[string]any{"event": event, "timestamp": u.At.Format(time.RFC3339), "data": data}
}

// SeedEvent returns the event of a status in the Seed protocol.
func SeedEvent(s State) string {
	switch s {
	case Submitted:
		return "video.created"
	case Succeeded:
		return "video.completed"
	}
	return "video." + string(s)
}

// legacy is the legacy form of callbacks and look-ups.
func (u Update) legacy() map[string]any {
	task := u.legacyReceipt()
	task["task_status_msg"], task["final_unit_deduction"] = u.message(), "1"
	task["task_result"] = map[string]any{"images": []any{}, "videos": u.videos()}
	return task
}

// legacyReceipt is the answer to the creation of a job, in the legacy form.
func (u Update) legacyReceipt() map[string]any {
	return u.drifted(map[string]any{
		"task_id": u.JobID, "task_status": u.status("succeed", "succeeded"),
		"created_at": u.Created.UnixMilli(), "updated_at": u.At.UnixMilli(),
		"task_info": map[string]any{"external_task_id": u.ExternalID},
	})
}

// official is the new form of callbacks and look-ups.
func (u Update) official() map[string]any {
	billing := []any{}
	outputs := u.videos()
	for _, video := range outputs {
		video["type"], video["watermark_url"] = "video", ""
		billing = []any{map[string]any{"charge_type": "unit", "amount": "1", "package_type": "video"}}
	}
	task := u.officialReceipt()
	task["outputs"], task["billing"] = outputs, billing
	return task
}

// officialReceipt is the answer to the creation of a job, in the new form.
func (u Update) officialReceipt() map[string]any {
	return u.drifted(map[string]any{
		"id": u.JobID, "status": u.status("succeeded", "succeed"), "message": u.message(),
		"create_time": u.Created.UnixMilli(), "update_time": u.At.UnixMilli(), "external_id": u.ExternalID,
	})
}

// status returns the status in an official body. The two forms have different words for
// success.
func (u Update) status(success, other string) string {
	switch {
	case u.Status == Cancelled:
		return string(Failed)
	case u.Status != Succeeded:
		return string(u.Status)
	case u.drift.status:
		return other
	}
	return success
}

// message returns why a job did not succeed.
func (u Update) message() string {
	return map[State]string{Failed: failure, Cancelled: cancellation}[u.Status]
}

// videos returns the fields of videos that both official forms have.
func (u Update) videos() []map[string]any {
	videos := []map[string]any{}
	if u.Status != Succeeded || u.NoMedia {
		return videos
	}
	for i := range max(u.Videos, 1) {
		videos = append(videos, map[string]any{"id": fmt.Sprintf("%s-%d", u.JobID, i+1), "url": u.VideoURL, "duration": fmt.Sprintf("%d.1", u.Seconds)})
	}
	return videos
}

// drifted writes the numbers of a body as strings if drift.numbers is set.
func (u Update) drifted(body map[string]any) map[string]any {
	for key, value := range body {
		if number, ok := value.(int64); ok && u.drift.numbers {
			body[key] = strconv.FormatInt(number, 10)
		}
	}
	return body
}

// encode writes JSON without escaping the & in links.
func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// Sign returns the headers that sign a body; none if the secret is empty. The id is the
// callback's, the same at every attempt. The official protocols' secret is "whsec_" and
// base64.
func (p CallbackFormat) Sign(secret, id string, at time.Time, body []byte) (http.Header, error) {
	header := http.Header{}
	if secret == "" {
		return header, nil
	}
	if p == Seed {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		header.Set("X-Kling-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		return header, nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		return nil, errors.New(`the secret of the official protocols must be "whsec_" and base64`)
	}
	webhook, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return nil, err
	}
	signature, err := webhook.Sign(id, at, body)
	if err != nil {
		return nil, err
	}
	header.Set(standardwebhooks.HeaderWebhookID, id)
	header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return header, nil
}
