package source

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

const (
	seedSignatureHeader = "X-Kling-Signature"
	seedPrefix          = "sha256="
)

// seedProtocol is the protocol of webhooks registered at /v1/webhooks: events named
// video.completed and so on, signed with HMAC-SHA256 over the body.
var seedProtocol = Protocol{
	Name:          "klingai",
	Platform:      tasks.PlatformKling,
	Path:          "/webhooks/klingai",
	SecretSetting: "KLINGAI_WEBHOOK_SECRET",
	Headers:       []string{seedSignatureHeader},
	New:           newSeed,
}

type seed struct{ secrets []string }

func newSeed(secrets []string) (Source, error) {
	for i, secret := range secrets {
		// Anybody can sign with the empty key.
		if secret == "" {
			return nil, fmt.Errorf("webhook secret %d of %d is empty: leave it out or fill it in", i+1, len(secrets))
		}
	}
	return seed{secrets}, nil
}

// Verify accepts hex digits in either case, with or without "sha256=".
func (s seed) Verify(header http.Header, body []byte, _ time.Time) (string, error) {
	signature, err := onlyValue(header, seedSignatureHeader)
	if err != nil {
		return "", err
	}
	digits := strings.TrimSpace(signature)
	if len(digits) >= len(seedPrefix) && strings.EqualFold(digits[:len(seedPrefix)], seedPrefix) {
		digits = digits[len(seedPrefix):]
	}
	mac, err := hex.DecodeString(digits)
	if err != nil || len(mac) != sha256.Size {
		return "", fmt.Errorf("%w: %s is malformed: want %s and %d hex digits", ErrSignature, seedSignatureHeader, seedPrefix, 2*sha256.Size)
	}
	// Every secret is tried, so that the time taken does not reveal which matched.
	var matched string
	for _, secret := range s.secrets {
		if hmac.Equal(mac, seedMAC(secret, body)) {
			matched = Fingerprint(secret)
		}
	}
	if matched == "" {
		return "", &mismatchError{len(s.secrets), len(body), seedProtocol.SecretSetting}
	}
	return matched, nil
}

func seedMAC(secret string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return h.Sum(nil)
}

func (seed) Identify(_ http.Header, body []byte) (Identity, error) {
	event, err := parseSeedEvent(body)
	if err != nil {
		return unreadable("", err)
	}
	return Identity{Type: event.eventType, JobID: event.jobID}, nil
}

type seedEvent struct {
	eventType, jobID string
	body, data       Object
}

func parseSeedEvent(raw []byte) (seedEvent, error) {
	body, err := parseBody(raw)
	if err != nil {
		return seedEvent{}, err
	}
	event := seedEvent{body: body}
	if list := body.Objects("data"); len(list) == 1 {
		event.data = list[0]
	}
	if event.eventType, err = body.requiredName("event", "event", maxTypeBytes); err != nil {
		return seedEvent{}, err
	}
	if known, ok := eventType(event.eventType); ok && strings.HasPrefix(strings.ToLower(event.eventType), typePrefix) {
		event.eventType = known
	}
	event.jobID, err = event.data.requiredID("job_id", "data.job_id")
	switch _, known := statusOf(event.eventType); {
	case err == nil:
		return event, nil
	case !known: // an unknown event need not have a job
		event.jobID = ""
		return event, nil
	case body.Value("data") == nil:
		return seedEvent{}, fmt.Errorf("%q is missing", "data")
	case event.data == nil:
		return seedEvent{}, fmt.Errorf("%q is %s, not an object", "data", typeName(body.Value("data")))
	}
	return seedEvent{}, err
}

// Update uses the event's type and ignores data.status.
func (seed) Update(event tasks.Event) (*tasks.JobUpdate, error) {
	parsed, err := parseSeedEvent(event.Body)
	if err != nil {
		return nil, tasks.Permanent(err)
	}
	status, known := statusOf(parsed.eventType)
	if !known {
		return nil, nil
	}
	data := parsed.data
	update := &tasks.JobUpdate{
		Job:        tasks.KlingJob(parsed.jobID),
		EventID:    event.ID,
		OccurredAt: parsed.body.Time("timestamp"),
		Status:     status,
		Progress:   data.percent("progress"),
		Prompt:     data.Text("prompt"),
		Model:      data.Text("model"),
		Duration:   data.Seconds("duration"),
		CreatedAt:  data.Time("created_at"),
	}
	switch status {
	case tasks.StatusCompleted:
		update.FinishedAt = cmp.Or(data.Time("completed_at"), update.OccurredAt)
		update.Media, update.Missing = seedMedia(data)
	case tasks.StatusFailed:
		update.FinishedAt = cmp.Or(data.Time("failed_at"), data.Time("completed_at"), update.OccurredAt)
		update.Error = seedError(data)
	case tasks.StatusCancelled:
		update.FinishedAt = cmp.Or(data.Time("cancelled_at"), data.Time("completed_at"), update.OccurredAt)
		update.Error = seedError(data)
	}
	return update, nil
}

// seedMedia returns the links of a completed job, and why it has no video.
func seedMedia(data Object) (media []tasks.MediaLink, missing string) {
	add := func(kind tasks.MediaKind, link string) {
		if link != "" {
			media = append(media, tasks.MediaLink{Name: tasks.MediaName(kind, 0), URL: link})
		}
	}
	video := strings.TrimSpace(data.Text("video_url"))
	add(tasks.MediaVideo, video)
	add(tasks.MediaThumbnail, strings.TrimSpace(data.Text("thumbnail_url")))
	if video == "" {
		missing = noText("data.video_url", data.Value("video_url"))
	}
	return media, missing
}

// noText says why a value is not text.
func noText(path string, value json.RawMessage) string {
	switch {
	case value == nil:
		return fmt.Sprintf("%q is missing", path)
	case value[0] == '"':
		return fmt.Sprintf("%q is empty", path)
	}
	return fmt.Sprintf("%q is %s, not a string", path, typeName(value))
}

// seedError returns the text of data.error, which is a string, or an object with message
// and code as in Kling's API.
func seedError(data Object) string {
	if text := data.Text("error"); text != "" {
		return text
	}
	details := data.Object("error")
	message, code := details.Text("message"), withoutNUL(details.Scalar("code"))
	switch {
	case code == "":
		return message
	case message == "":
		return "code " + code
	}
	return message + " (code " + code + ")"
}
