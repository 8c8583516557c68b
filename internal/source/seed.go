package source

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

const (
	seedSignatureHeader = "X-Kling-Signature"
	seedPrefix          = "sha256="
	seedSetting         = "KLINGAI_WEBHOOK_SECRET"
)

// seedProtocol is the protocol of webhooks registered at /v1/webhooks: events
// named video.completed and the like, signed with HMAC-SHA256 over the body.
func seedProtocol() Protocol {
	return Protocol{
		Name:          "klingai",
		Path:          "/webhooks/klingai",
		SecretSetting: seedSetting,
		Headers:       []string{seedSignatureHeader},
		New:           newSeed,
	}
}

type seed struct {
	secrets []seedSecret
}

type seedSecret struct {
	fingerprint string
	// macs are hashes of the key, as hmac.New makes them: the key is mixed in once
	// for all bodies.
	macs *sync.Pool
}

func newSeed(secrets []string) (Source, error) {
	s := &seed{}
	for i, secret := range secrets {
		// Anybody can sign with the empty key.
		if secret == "" {
			return nil, fmt.Errorf("webhook secret %d of %d is empty: leave it out or fill it in", i+1, len(secrets))
		}
		s.secrets = append(s.secrets, seedSecret{Fingerprint(secret), &sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(secret)) }}})
	}
	return s, nil
}

// Verify takes the hex digits in either case, with or without "sha256=".
func (s *seed) Verify(header http.Header, body []byte, _ time.Time) (string, error) {
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
	// Every secret is tried, so that the time taken does not tell which matched.
	var matched string
	for _, secret := range s.secrets {
		if hmac.Equal(mac, secret.mac(body)) {
			matched = secret.fingerprint
		}
	}
	if matched == "" {
		return "", &mismatchError{len(s.secrets), len(body), seedSetting}
	}
	return matched, nil
}

// mac returns the body's HMAC by the secret.
func (s seedSecret) mac(body []byte) []byte {
	h, _ := s.macs.Get().(hash.Hash) // there is nothing else in it
	defer s.macs.Put(h)
	h.Reset()
	h.Write(body)
	return h.Sum(nil)
}

func seedMAC(key, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil)
}

func (s *seed) Identify(_ http.Header, body []byte) (Identity, error) {
	ev, err := parseSeedEvent(body)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Type: ev.eventType, JobID: ev.jobID}, nil
}

// seedEvent is a body of which everything that identity needs is read. data is
// nil where the type is unknown.
type seedEvent struct {
	eventType, jobID string
	body, data       object
}

func parseSeedEvent(raw []byte) (seedEvent, error) {
	body, err := parseBody(raw)
	if err != nil {
		return seedEvent{}, err
	}
	eventType, err := body.requiredName("event", "event", maxTypeBytes)
	if err != nil {
		return seedEvent{}, err
	}
	if _, known := statusOf(eventType); !known {
		// An event that means nothing may have any data, with its job's id or not.
		jobID, err := body.object("data").requiredID("job_id", "data.job_id")
		if err != nil {
			jobID = ""
		}
		return seedEvent{eventType: eventType, jobID: jobID, body: body}, nil
	}
	data, err := body.requiredObject("data")
	if err != nil {
		return seedEvent{}, err
	}
	jobID, err := data.requiredID("job_id", "data.job_id")
	if err != nil {
		return seedEvent{}, err
	}
	return seedEvent{eventType, jobID, body, data}, nil
}

// Update goes by the event's type alone: data.status repeats it, when it does.
func (s *seed) Update(ev tasks.Event) (*tasks.JobUpdate, error) {
	parsed, err := parseSeedEvent(ev.Body)
	if err != nil {
		return nil, tasks.Permanent(err)
	}
	status, known := statusOf(parsed.eventType)
	if !known {
		return nil, nil
	}
	data := parsed.data
	u := &tasks.JobUpdate{
		JobID:      parsed.jobID,
		EventID:    ev.ID,
		OccurredAt: parsed.body.time("timestamp"),
		Status:     status,
		Progress:   data.percent("progress"),
		Prompt:     data.text("prompt"),
		Model:      data.text("model"),
		Duration:   data.seconds("duration"),
		CreatedAt:  data.time("created_at"),
	}
	switch status {
	case tasks.StatusCompleted:
		u.FinishedAt = firstTime(data.time("completed_at"), u.OccurredAt)
		u.Media = seedMedia(data)
	case tasks.StatusFailed:
		u.FinishedAt = firstTime(data.time("failed_at"), data.time("completed_at"), u.OccurredAt)
		u.Error = seedError(data)
	case tasks.StatusCancelled:
		u.FinishedAt = firstTime(data.time("cancelled_at"), data.time("completed_at"), u.OccurredAt)
		u.Error = seedError(data)
	}
	return u, nil
}

func seedMedia(data object) []tasks.MediaLink {
	var media []tasks.MediaLink
	if link := data.text("video_url"); link != "" {
		media = append(media, tasks.MediaLink{Name: tasks.MediaVideo, URL: link})
	}
	if link := data.text("thumbnail_url"); link != "" {
		media = append(media, tasks.MediaLink{Name: tasks.MediaThumbnail, URL: link})
	}
	return media
}

// seedError returns the error as a text or as an object of message and code,
// which is how Kling's API answers errors.
func seedError(data object) string {
	if text := data.text("error"); text != "" {
		return text
	}
	details := data.object("error")
	message, code := details.text("message"), withoutNUL(details.scalar("code"))
	switch {
	case code == "":
		return message
	case message == "":
		return "code " + code
	}
	return message + " (code " + code + ")"
}

// firstTime returns the first time that is not zero.
func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
