package source

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
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

// signatureTolerance limits the time between signing and arrival, either way.
const signatureTolerance = 5 * time.Minute

// officialProtocol is the protocol of the callbacks that Kling sends for a task
// created with callback_url, signed as Standard Webhooks requires.
var officialProtocol = Protocol{
	Name:          "klingai-official",
	Platform:      tasks.PlatformKling,
	Path:          "/webhooks/klingai/official",
	SecretSetting: "KLINGAI_OFFICIAL_WEBHOOK_SECRET",
	Headers:       []string{webhookIDHeader, webhookTimestampHeader, webhookSignatureHeader},
	New:           newOfficial,
}

type official struct{ secrets []officialSecret }

type officialSecret struct {
	webhook     *standardwebhooks.Webhook
	fingerprint string
}

func newOfficial(secrets []string) (Source, error) {
	o := official{}
	for i, secret := range secrets {
		webhook, err := newWebhook(secret)
		if err != nil {
			return nil, fmt.Errorf("official webhook secret %d of %d: %w", i+1, len(secrets), err)
		}
		o.secrets = append(o.secrets, officialSecret{webhook, Fingerprint(secret)})
	}
	return o, nil
}

// newWebhook refuses the empty key, which the library accepts and anybody can sign
// with.
func newWebhook(secret string) (*standardwebhooks.Webhook, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		return nil, errors.New("not a base64 key: copy it whole from Kling's console, with or without its whsec_")
	}
	return standardwebhooks.NewWebhookRaw(key)
}

// Verify compares the signature's timestamp with at instead of the clock: a
// delivery that was in time when it arrived is in time on replay.
func (o official) Verify(header http.Header, body []byte, at time.Time) (string, error) {
	header, signedAt, err := normalHeaders(header)
	if err != nil {
		return "", err
	}
	// Every secret is tried, so that the time taken does not reveal which matched.
	var matched string
	for _, secret := range o.secrets {
		if secret.webhook.VerifyIgnoringTimestamp(body, header) == nil {
			matched = secret.fingerprint
		}
	}
	if matched == "" {
		return "", &mismatchError{len(o.secrets), len(body), officialProtocol.SecretSetting}
	}
	switch age := at.Sub(signedAt); {
	case age > signatureTolerance:
		return "", fmt.Errorf("%w: too old: signed %s before it arrived, %s allowed; or this machine's clock is fast", ErrSignature, age, signatureTolerance)
	case age < -signatureTolerance:
		return "", fmt.Errorf("%w: too new: signed %s after it arrived, %s allowed; or this machine's clock is slow", ErrSignature, signedAt.Sub(at), signatureTolerance)
	}
	return matched, nil
}

// signature matches one signature of a list, after a separator.
var signature = regexp.MustCompile(`(?:^|[\s,])(v1,[^\s,]{44,})`)

// normalHeaders returns the signed headers as the library reads them, and the time of
// signing. Proxies may fold signatures or split them over several headers. It refuses
// an id or a timestamp that could be read in two ways.
func normalHeaders(header http.Header) (normal http.Header, signedAt time.Time, err error) {
	id, err := onlyValue(header, webhookIDHeader)
	if err == nil && strings.Contains(id, ".") {
		err = fmt.Errorf("%w: %w", ErrSignature, errDot)
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	timestamp, err := onlyValue(header, webhookTimestampHeader)
	if err != nil {
		return nil, time.Time{}, err
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || timestamp != strconv.FormatInt(seconds, 10) {
		return nil, time.Time{}, fmt.Errorf("%w: %s is malformed: want seconds since 1970", ErrSignature, webhookTimestampHeader)
	}
	given := strings.Join(header.Values(webhookSignatureHeader), ",")
	var signatures []string
	for _, match := range signature.FindAllStringSubmatch(given, -1) {
		signatures = append(signatures, match[1])
	}
	switch {
	case strings.Trim(given, ", \t") == "":
		return nil, time.Time{}, fmt.Errorf("%w: %s is missing", ErrSignature, webhookSignatureHeader)
	case len(signatures) == 0:
		return nil, time.Time{}, fmt.Errorf("%w: %s is malformed: want v1, and base64", ErrSignature, webhookSignatureHeader)
	}
	return http.Header{
		webhookIDHeader: {id}, webhookTimestampHeader: {timestamp}, webhookSignatureHeader: {strings.Join(signatures, " ")},
	}, time.Unix(seconds, 0), nil
}

// errDot refuses an id with a dot, because dots separate the parts of the signed text.
var errDot = fmt.Errorf("%q has a dot", webhookIDHeader)

func (official) Identify(header http.Header, body []byte) (Identity, error) {
	// Verify requires the header, so it is missing only if nothing is verified.
	id := header.Get(webhookIDHeader)
	if strings.Contains(id, ".") {
		return Identity{}, errDot
	}
	if id != "" {
		if err := checkName(webhookIDHeader, id, maxIDBytes); err != nil {
			return Identity{}, err
		}
	}
	task, err := ReadTask(body)
	if err != nil {
		return unreadable(id, err)
	}
	return Identity{SenderID: id, Type: task.EventType(), JobID: task.ID}, nil
}

func (official) Update(event tasks.Event) (*tasks.JobUpdate, error) {
	task, err := ReadTask(event.Body)
	if err != nil {
		return nil, tasks.Permanent(err)
	}
	update := task.update(event.ID)
	if update != nil && update.Status == tasks.StatusCreated {
		// Test callbacks from Kling's console look like this, and their id is no job's.
		update.MaybeTest = task.API != tasks.APILegacy && task.NoOutputs
	}
	return update, nil
}
