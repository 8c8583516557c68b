package source

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/klinghook/klinghook/tasks"
)

// The headers of Standard Webhooks, in canonical form.
const (
	webhookIDHeader        = "Webhook-Id"
	webhookTimestampHeader = "Webhook-Timestamp"
	webhookSignatureHeader = "Webhook-Signature"
)

const officialSetting = "KLINGAI_OFFICIAL_WEBHOOK_SECRET"

// signatureTolerance is how far apart, either way, the signing and the arrival
// of a delivery may be.
const signatureTolerance = 5 * time.Minute

// officialProtocol is the protocol of the callbacks that Kling sends for a task
// created with callback_url, signed as Standard Webhooks says. Its statuses are
// turned into the seed protocol's event types.
func officialProtocol() Protocol {
	return Protocol{
		Name:          "klingai-official",
		Path:          "/webhooks/klingai/official",
		SecretSetting: officialSetting,
		Headers:       []string{webhookIDHeader, webhookTimestampHeader, webhookSignatureHeader},
		New:           newOfficial,
	}
}

type official struct {
	secrets []officialSecret
}

type officialSecret struct {
	webhook     *standardwebhooks.Webhook
	fingerprint string
}

func newOfficial(secrets []string) (Source, error) {
	o := &official{}
	for i, secret := range secrets {
		webhook, err := newWebhook(secret)
		if err != nil {
			return nil, fmt.Errorf("official webhook secret %d of %d: %w", i+1, len(secrets), err)
		}
		o.secrets = append(o.secrets, officialSecret{webhook, Fingerprint(secret)})
	}
	return o, nil
}

// newWebhook reads a secret of Standard Webhooks. It refuses the empty key,
// which the library takes and anybody can sign with.
func newWebhook(secret string) (*standardwebhooks.Webhook, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		return nil, errors.New("not a base64 key: copy it whole from Kling's console, with or without its whsec_")
	}
	return standardwebhooks.NewWebhookRaw(key)
}

// Verify holds the signature's timestamp against at, not against a clock: what
// was in time when it arrived is in time on replay.
func (o *official) Verify(header http.Header, body []byte, at time.Time) (string, error) {
	signedAt, err := checkHeaders(header)
	if err != nil {
		return "", err
	}
	// Every secret is tried, so that the time taken does not tell which matched.
	var matched string
	for _, secret := range o.secrets {
		if secret.webhook.VerifyIgnoringTimestamp(body, header) == nil {
			matched = secret.fingerprint
		}
	}
	if matched == "" {
		return "", &mismatchError{len(o.secrets), len(body), officialSetting}
	}
	// The age comes last: only an honest sender's is worth a word on clocks.
	switch age := at.Sub(signedAt); {
	case age > signatureTolerance:
		return "", fmt.Errorf("%w: too old: signed %s before it arrived, %s allowed; or this machine's clock is fast", ErrSignature, age, signatureTolerance)
	case age < -signatureTolerance:
		return "", fmt.Errorf("%w: too new: signed %s after it arrived, %s allowed; or this machine's clock is slow", ErrSignature, signedAt.Sub(at), signatureTolerance)
	}
	return matched, nil
}

// checkHeaders refuses headers that the library would read in part, and returns
// when they say that they were signed.
func checkHeaders(header http.Header) (signedAt time.Time, err error) {
	if _, err := onlyValue(header, webhookIDHeader); err != nil {
		return time.Time{}, err
	}
	timestamp, err := onlyValue(header, webhookTimestampHeader)
	if err != nil {
		return time.Time{}, err
	}
	signature, err := onlyValue(header, webhookSignatureHeader)
	if err != nil {
		return time.Time{}, err
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %s is malformed: want seconds since 1970", ErrSignature, webhookTimestampHeader)
	}
	if !strings.HasPrefix(signature, "v1,") && !strings.Contains(signature, " v1,") {
		return time.Time{}, fmt.Errorf("%w: %s is malformed: want v1, and base64", ErrSignature, webhookSignatureHeader)
	}
	return time.Unix(seconds, 0), nil
}

func (o *official) Identify(header http.Header, body []byte) (Identity, error) {
	cb, err := parseCallback(body)
	if err != nil {
		return Identity{}, err
	}
	// Verify asks for the header, so it is missing only where nothing is verified.
	id := header.Get(webhookIDHeader)
	if id != "" {
		if err := checkToken(webhookIDHeader, id, maxIDBytes); err != nil {
			return Identity{}, err
		}
	}
	return Identity{SenderID: id, Type: cb.eventType, JobID: cb.jobID}, nil
}

// callbackKeys are the keys by which one of Kling's two bodies says the same.
type callbackKeys struct {
	id, status, message, createdAt, updatedAt string
}

func newKeys() callbackKeys {
	return callbackKeys{"id", "status", "message", "create_time", "update_time"}
}

func legacyKeys() callbackKeys {
	return callbackKeys{"task_id", "task_status", "task_status_msg", "created_at", "updated_at"}
}

// callback is a body of which everything that identity needs is read.
type callback struct {
	jobID, eventType string
	keys             callbackKeys
	body             object
}

func parseCallback(raw []byte) (callback, error) {
	body, err := parseBody(raw)
	if err != nil {
		return callback{}, err
	}
	var keys callbackKeys
	isNew, isLegacy := body.field("id") != nil, body.field("task_id") != nil
	switch {
	case isNew && isLegacy:
		return callback{}, errors.New(`body has both "id" and "task_id": want one of them`)
	case isNew:
		keys = newKeys()
	case isLegacy:
		keys = legacyKeys()
	default:
		return callback{}, errors.New(`body has neither "id" nor "task_id": want one of them`)
	}
	jobID, err := body.requiredID(keys.id, keys.id)
	if err != nil {
		return callback{}, err
	}
	status, err := body.requiredName(keys.status, keys.status, maxTypeBytes-len(typePrefix))
	if err != nil {
		return callback{}, err
	}
	cb := callback{jobID, officialType(status), keys, body}
	if n := len(cb.outputs()); n > maxOutputs {
		return callback{}, fmt.Errorf("body has %d outputs: %d at most", n, maxOutputs)
	}
	return cb, nil
}

// maxOutputs is how many outputs a callback may list. Each video of them becomes
// a row and a download, so that one body of a megabyte could ask for 80,000.
// Kling's own tasks make a few at most.
const maxOutputs = 100

const typePrefix = "video."

// officialType gives a status of Kling's the name of an event type. The two
// spellings of success are both seen in both bodies. A status that is none of
// Kling's keeps its own name; it means something only if that happens to be the
// seed protocol's, such as "completed".
func officialType(status string) string {
	switch status {
	case "submitted":
		return tasks.TypeCreated
	case "processing":
		return tasks.TypeProcessing
	case "succeed", "succeeded":
		return tasks.TypeCompleted
	case "failed":
		return tasks.TypeFailed
	case "canceled", "cancelled":
		return tasks.TypeCancelled
	}
	return typePrefix + status
}

func (o *official) Update(ev tasks.Event) (*tasks.JobUpdate, error) {
	cb, err := parseCallback(ev.Body)
	if err != nil {
		return nil, tasks.Permanent(err)
	}
	status, known := statusOf(cb.eventType)
	if !known {
		return nil, nil
	}
	u := &tasks.JobUpdate{
		JobID:      cb.jobID,
		EventID:    ev.ID,
		OccurredAt: cb.body.time(cb.keys.updatedAt),
		Status:     status,
		API:        cb.api(),
		ExternalID: cb.externalID(),
		CreatedAt:  cb.body.time(cb.keys.createdAt),
	}
	if status.Terminal() {
		u.FinishedAt = u.OccurredAt
	}
	if status == tasks.StatusFailed {
		u.Error = cb.body.text(cb.keys.message)
	}
	if status == tasks.StatusCompleted {
		u.Media, u.Duration = cb.videos()
	}
	return u, nil
}

func (cb callback) externalID() string {
	if cb.keys == legacyKeys() {
		return cb.body.object("task_info").text("external_task_id")
	}
	return cb.body.text("external_id")
}

// outputs returns what the task made; nil unless it is completed.
func (cb callback) outputs() []object {
	switch {
	case cb.eventType != tasks.TypeCompleted:
		return nil
	case cb.keys == legacyKeys():
		return cb.body.object("task_result").objects("videos")
	}
	return cb.body.objects("outputs")
}

// videos returns the links of the task's videos, and how long the first is. A
// video is named by its place among the videos even when another has no link
// yet, so that a later event gives it the same name.
func (cb callback) videos() (media []tasks.MediaLink, first time.Duration) {
	n := 0
	for _, output := range cb.outputs() {
		if kind := output.text("type"); kind != "" && kind != "video" {
			continue
		}
		if n == 0 {
			first = output.seconds("duration")
		}
		if link := output.text("url"); link != "" {
			media = append(media, tasks.MediaLink{Name: tasks.VideoName(n), URL: link})
		}
		n++
	}
	return media, first
}
