package source

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// SignSeed returns the headers with which the seed protocol sends a body.
func SignSeed(secret string, body []byte) http.Header {
	header := make(http.Header)
	header.Set(seedSignatureHeader, seedPrefix+hex.EncodeToString(seedMAC([]byte(secret), body)))
	return header
}

// SignOfficial returns the headers with which Kling's callbacks send a body: id
// is the event's webhook-id, at the time of sending, of which whole seconds
// count. It fails when the secret or the id is not of the protocol's form.
func SignOfficial(secret, id string, at time.Time, body []byte) (http.Header, error) {
	header, err := signOfficial(secret, id, at, body)
	if err != nil {
		return nil, fmt.Errorf("sign official webhook: %w", err)
	}
	return header, nil
}

func signOfficial(secret, id string, at time.Time, body []byte) (http.Header, error) {
	webhook, err := newWebhook(secret)
	if err != nil {
		return nil, err
	}
	if err := checkToken(webhookIDHeader, id, maxIDBytes); err != nil {
		return nil, err
	}
	signature, err := webhook.Sign(id, at, body)
	if err != nil {
		return nil, err
	}
	header := make(http.Header)
	header.Set(webhookIDHeader, id)
	header.Set(webhookTimestampHeader, strconv.FormatInt(at.Unix(), 10))
	header.Set(webhookSignatureHeader, signature)
	return header, nil
}
