package source_test

import (
	"encoding/base64"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/simulate"
	"github.com/klinghook/klinghook/internal/source"
)

// A test vector for a secret without whsec_, made with Python's hmac.
const (
	bareSecret    = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	bareBody      = `{"task_id":"1234567890","task_status":"succeed"}`
	bareSignature = "v1,DP1sPbaxF6Gcgwsz//KspNpbqr0l/6nRDiSS/A2XoJc="
)

func TestOfficialAcceptsSignatures(t *testing.T) {
	otherSignature := "v1," + base64.StdEncoding.EncodeToString(make([]byte, 32))
	kling := func(signature string) http.Header {
		return officialHeaders(klingID, strconv.Itoa(klingTimestamp), signature)
	}
	lines := func(signatures ...string) http.Header {
		header := klingHeaders()
		header["Webhook-Signature"] = signatures
		return header
	}
	tests := []struct {
		name   string
		secret string
		header http.Header
		body   string
	}{
		{"Kling's vector", klingSecret, klingHeaders(), klingBody},
		{"secret without whsec_", bareSecret, officialHeaders("evt_1", strconv.Itoa(klingTimestamp), bareSignature), bareBody},
		{"first of several signatures", klingSecret, kling(klingSignature + " " + otherSignature), klingBody},
		{"last of several signatures", klingSecret, kling(otherSignature + " " + klingSignature), klingBody},
		{"beside another version", klingSecret, kling("v1a,AAAA " + klingSignature), klingBody},
		{"tabs and several spaces", klingSecret, kling("\t" + otherSignature + " \t  " + klingSignature + "  "), klingBody},
		{"folded", klingSecret, kling(otherSignature + "\r\n " + klingSignature), klingBody},
		{"joined by a proxy", klingSecret, kling(otherSignature + "," + klingSignature + ", " + otherSignature), klingBody},
		{"several lines", klingSecret, lines(otherSignature, "", klingSignature), klingBody},
		{"several lists", klingSecret, lines("v1a,AAAA "+otherSignature, otherSignature+" "+klingSignature), klingBody},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := newSource(t, "klingai-official", tt.secret).Verify(tt.header, []byte(tt.body), klingSignedAt())
			if want := source.Fingerprint(tt.secret); got != want || err != nil {
				t.Errorf("Verify = %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestOfficialRefusesSignatures(t *testing.T) {
	const mismatch = "signature does not match; secrets tried: 1; body of "
	timestamp := strconv.Itoa(klingTimestamp)
	tests := []struct {
		name   string
		header http.Header
		body   string
		want   string
	}{
		{"unsigned", nil, klingBody, "Webhook-Id is missing"},
		{"empty signature", officialHeaders(klingID, timestamp, ""), klingBody, "Webhook-Signature is missing"},
		{"timestamp not a number", officialHeaders(klingID, "2026-06-10T08:39:54Z", klingSignature), klingBody, "Webhook-Timestamp is malformed"},
		{"timestamp in float", officialHeaders(klingID, timestamp+".0", klingSignature), klingBody, "Webhook-Timestamp is malformed"},
		{"timestamp too long", officialHeaders(klingID, timestamp+timestamp, klingSignature), klingBody, "Webhook-Timestamp is malformed"},
		{"timestamp with a sign", officialHeaders(klingID, "+"+timestamp, klingSignature), klingBody, "Webhook-Timestamp is malformed"},
		{"timestamp with zeros", officialHeaders(klingID, "0"+timestamp, klingSignature), klingBody, "Webhook-Timestamp is malformed"},
		{"timestamp with a space", officialHeaders(klingID, timestamp+" ", klingSignature), klingBody, "Webhook-Timestamp is malformed"},
		{"timestamp twice", http.Header{"Webhook-Id": {klingID}, "Webhook-Timestamp": {timestamp, timestamp}}, klingBody, "Webhook-Timestamp is given more than once"},
		{"empty id", officialHeaders(" ", timestamp, klingSignature), klingBody, "Webhook-Id is missing"},
		{"id with a dot", officialHeaders("evt.1", timestamp, klingSignature), klingBody, `"Webhook-Id" has a dot`},
		{"signed text split elsewhere", officialHeaders(klingID+"."+timestamp, "1", klingSignature), klingBody, `"Webhook-Id" has a dot`},
		{"signature in pieces", officialHeaders(klingID, timestamp, klingSignature[:20]+" "+klingSignature[20:]), klingBody, "Webhook-Signature is malformed"},
		{"only separators", officialHeaders(klingID, timestamp, " , \t"), klingBody, "Webhook-Signature is missing"},
		{"version without a signature", officialHeaders(klingID, timestamp, "v1"), klingBody, "Webhook-Signature is malformed"},
		{"no version", officialHeaders(klingID, timestamp, klingSignature[3:]), klingBody, "Webhook-Signature is malformed"},
		{"other version", officialHeaders(klingID, timestamp, "v2"+klingSignature[2:]), klingBody, "Webhook-Signature is malformed"},
		{"other id", officialHeaders("1"+klingID, timestamp, klingSignature), klingBody, mismatch},
		{"other timestamp", officialHeaders(klingID, strconv.Itoa(klingTimestamp+1), klingSignature), klingBody, mismatch},
		{"other body", klingHeaders(), klingBody + " ", mismatch},
		{"empty signature of v1", officialHeaders(klingID, timestamp, "v1,"), klingBody, "Webhook-Signature is malformed"},
		{"cut signature", officialHeaders(klingID, timestamp, klingSignature[:len(klingSignature)-4]), klingBody, "Webhook-Signature is malformed"},
	}
	src := newSource(t, "klingai-official", klingSecret)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantRefused(t, src, tt.header, tt.body, klingSignedAt(), tt.want)
		})
	}
}

func TestOfficialLimitsTheAgeOfSignatures(t *testing.T) {
	const tolerance = 5 * time.Minute
	tests := []struct {
		name string
		// age is the time between signing and arrival.
		age  time.Duration
		want string
	}{
		{"at once", 0, ""},
		{"oldest", tolerance, ""},
		{"too old", tolerance + 1, "too old: signed 5m0.000000001s before it arrived"},
		{"much too old", 24 * time.Hour, "too old: signed 24h0m0s before it arrived"},
		{"newest", -tolerance, ""},
		{"too new", -tolerance - 1, "too new: signed 5m0.000000001s after it arrived"},
		{"much too new", -24 * time.Hour, "too new: signed 24h0m0s after it arrived"},
	}
	src := newSource(t, "klingai-official", klingSecret)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := klingSignedAt().Add(tt.age)
			if tt.want != "" {
				wantRefused(t, src, klingHeaders(), klingBody, at, tt.want)
				return
			}
			if _, err := src.Verify(klingHeaders(), []byte(klingBody), at); err != nil {
				t.Error(err)
			}
		})
	}
	// The extreme timestamps overflow a Duration.
	for _, seconds := range []int64{math.MinInt64, math.MinInt64 + 1, -1 << 40, 0, 1 << 40, math.MaxInt64} {
		header := sign(t, simulate.Official, klingSecret, time.Unix(seconds, 0), klingBody)
		wantRefused(t, src, header, klingBody, klingSignedAt(), "too ")
	}
}

func TestOfficialRefusesBadSecrets(t *testing.T) {
	for name, secret := range map[string]string{
		"empty":        "",
		"empty key":    "whsec_",
		"line ends":    "whsec_\r\n",
		"not base64":   "whsec_not-base64!",
		"cut":          klingSecret[:len(klingSecret)-1],
		"space around": " " + klingSecret,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := protocol(t, "klingai-official").New([]string{klingSecret, secret})
			if err == nil || !strings.Contains(err.Error(), "secret 2 of 2: not a base64 key: copy it whole") {
				t.Fatalf("New = %v, want an error that says what to do", err)
			}
			if key := strings.TrimSpace(strings.TrimPrefix(secret, "whsec_")); key != "" && strings.Contains(err.Error(), key) {
				t.Errorf("error %q has the secret", err)
			}
		})
	}
}
