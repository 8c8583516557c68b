package simulate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// signer signs a body as of now: id is the callback's, the same at every attempt.
type signer func(header http.Header, id string, at time.Time, body []byte) error

// signNothing is the signer of an account without a secret.
func signNothing(http.Header, string, time.Time, []byte) error { return nil }

// officialSigner signs as Standard Webhooks says.
func officialSigner(secret string) (signer, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		return nil, errors.New(`the official protocols' secret is not "whsec_" and base64`)
	}
	webhook, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return nil, errors.New("the official protocols' secret cannot be used to sign")
	}
	return func(header http.Header, id string, at time.Time, body []byte) error {
		signature, err := webhook.Sign(id, at, body)
		if err != nil {
			return err
		}
		header.Set(standardwebhooks.HeaderWebhookID, id)
		header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
		header.Set(standardwebhooks.HeaderWebhookSignature, signature)
		return nil
	}, nil
}

// seedSigner signs with HMAC-SHA256 over the body.
func seedSigner(secret string) signer {
	return func(header http.Header, _ string, _ time.Time, body []byte) error {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		header.Set("X-Kling-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		return nil
	}
}

// newSecret makes a secret that is of either protocol's form.
func newSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}
