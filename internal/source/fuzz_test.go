package source_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func FuzzSeedVerify(f *testing.F) {
	f.Add("sha256="+seedDigits, []byte(seedBody))
	f.Add(strings.ToUpper(seedDigits), []byte(seedBody))
	f.Add(" SHA256="+seedDigits+" ", []byte(seedCompleted))
	f.Add("sha256=", []byte{})
	src := newSource(f, "klingai", "older", seedSecret)
	f.Fuzz(func(t *testing.T, signature string, body []byte) {
		mac := hmac.New(sha256.New, []byte(seedSecret))
		mac.Write(body)
		digits := hex.EncodeToString(mac.Sum(nil))
		secret, err := src.Verify(seedHeader(signature), body, time.Time{})
		given := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(signature)), "sha256=")
		wantVerdict(t, secret, err, given == digits, seedSecret)
		secret, err = src.Verify(seedHeader(digits), body, time.Time{})
		wantVerdict(t, secret, err, true, seedSecret)
	})
}

func FuzzOfficialVerify(f *testing.F) {
	timestamp := strconv.Itoa(klingTimestamp)
	f.Add(klingID, timestamp, klingSignature, []byte(klingBody))
	f.Add(klingID, "+"+timestamp, "v1,AAAA "+klingSignature+",x", []byte(klingBody))
	f.Add("", timestamp, "v1,", []byte{})
	f.Add("a.b", "-9223372036854775808", "v1", []byte("{}"))
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(klingSecret, "whsec_"))
	testenv.NoError(f, err)
	src := newSource(f, "klingai-official", bareSecret, klingSecret)
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		secret, err := src.Verify(officialHeaders(id, timestamp, signature), body, klingSignedAt())
		seconds, parseErr := strconv.ParseInt(timestamp, 10, 64)
		goodID := strings.TrimSpace(id) != "" && !strings.Contains(id, ".")
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(seconds, 10) + "."))
		mac.Write(body)
		want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		signed := regexp.MustCompile(`(^|[\s,])` + regexp.QuoteMeta(want) + `($|[\s,])`).MatchString(signature)
		inTime := parseErr == nil && timestamp == strconv.FormatInt(seconds, 10) && klingTimestamp-300 <= seconds && seconds <= klingTimestamp+300
		wantVerdict(t, secret, err, signed && inTime && goodID, klingSecret)
	})
}

func wantVerdict(t *testing.T, secret string, err error, want bool, signedBy string) {
	t.Helper()
	switch {
	case want && (err != nil || secret != source.Fingerprint(signedBy)):
		t.Errorf("right signature: Verify = %q, %v", secret, err)
	case !want && (secret != "" || !errors.Is(err, source.ErrSignature)):
		t.Errorf("wrong signature: Verify = %q, %v", secret, err)
	}
}

func FuzzSeedBody(f *testing.F) {
	f.Add([]byte(seedCompleted))
	f.Add([]byte(`{"event":"video.failed","timestamp":1736937000,"data":{"job_id":1,"error":{"code":1301,"message":"x\u0000"},"failed_at":"2025-01-15T10:30:00Z"}}`))
	f.Add([]byte(`{"event":"video.processing","data":{"job_id":"../\ud800","progress":"45%","duration":"5"}}`))
	f.Add([]byte(`{"event":"video.created","event":1e999,"data":{"job_id":"x","prompt":"\ud83d","created_at":253402300799999}}`))
	f.Add([]byte(`{"event":"ping","data":[]}`))
	fuzzBody(f, "klingai")
}

func FuzzOfficialBody(f *testing.F) {
	f.Add([]byte(klingBody))
	f.Add([]byte(`{"id":"1","status":"succeeded","external_id":"x","outputs":[{"type":"video","url":"https://x/1.mp4","duration":"5.1"},{"url":"\u0000"}]}`))
	f.Add([]byte(`{"task_id":1,"task_status":"succeed","task_info":{"external_task_id":"x"},"task_result":{"videos":[{"url":"https://x/1.mp4"}]}}`))
	f.Add([]byte(`{"task_id":"1","task_status":"failed","task_status_msg":"x","updated_at":"1781080794151"}`))
	f.Add([]byte(`{"code":0,"data":[{"id":"1","task_id":1,"status":"Success","update_time":"2025-01-15 10:30:00 +0000","outputs":[{"type":"audio/mpeg","mp3_url":"https://x/1.mp3","wav_url":"https://x/1.wav"}]}]}`))
	f.Add([]byte(`{"id":"1","status":"queued"}`))
	fuzzBody(f, "klingai-official")
}

// fuzzBody checks the properties that the rest of klinghook relies on.
func fuzzBody(f *testing.F, name string) {
	src := newSource(f, name)
	f.Fuzz(func(t *testing.T, body []byte) { checkBody(t, src, body) })
}

func checkBody(t *testing.T, src source.Source, body []byte) {
	t.Helper()
	if !json.Valid(bytes.TrimPrefix(body, []byte("\ufeff"))) {
		if _, err := src.Identify(nil, body); err == nil {
			t.Fatal("Identify accepts a body that is not JSON")
		}
	}
	id, err := src.Identify(nil, body)
	if err != nil {
		if update, err := src.Update(tasks.Event{Body: body}); err == nil {
			t.Fatalf("Identify fails, Update = %+v", update)
		}
		return
	}
	if strings.TrimSpace(id.Type) == "" || len(id.Type) > 128 || len(id.JobID) > 256 || strings.ContainsRune(id.Type+id.JobID, utf8.RuneError) {
		t.Errorf("Identify = %+v", id)
	}
	wantStorable(t, id.Type, id.JobID)
	if safe := tasks.SafeID(id.JobID); strings.Contains(safe, "/") {
		t.Errorf("SafeID = %q", safe)
	}
	wantSameJob(t, src, id, body)
	update, err := src.Update(tasks.Event{Body: body})
	testenv.NoError(t, err)
	if update != nil {
		checkUpdate(t, update)
	}
}

func checkUpdate(t *testing.T, u *tasks.JobUpdate) {
	t.Helper()
	wantStorable(t, u.Job.ID, u.Prompt, u.Model, u.Error, u.ExternalID)
	for _, at := range []time.Time{u.OccurredAt, u.CreatedAt, u.FinishedAt} {
		if !at.IsZero() && (at.Year() < 1970 || at.Year() > 9999 || at.Location() != time.UTC) {
			t.Errorf("time %v", at)
		}
	}
	if u.Progress != nil && (*u.Progress < 0 || *u.Progress > 100) {
		t.Errorf("progress %d", *u.Progress)
	}
	if u.Duration < 0 || u.Duration > 24*time.Hour {
		t.Errorf("duration %s", u.Duration)
	}
	if !u.Status.Terminal() && !u.FinishedAt.IsZero() {
		t.Errorf("%s, but finished at %v", u.Status, u.FinishedAt)
	}
	if u.Status != tasks.StatusCompleted && len(u.Media) > 0 {
		t.Errorf("%s, but has %d media", u.Status, len(u.Media))
	}
	if len(u.Media) > 200 { // each of 100 outputs may have a watermark
		t.Errorf("%d media", len(u.Media))
	}
	names := make(map[string]bool)
	for _, link := range u.Media {
		wantStorable(t, link.Name, link.URL)
		if link.URL == "" || link.Name == "" || names[link.Name] {
			t.Errorf("media %+v", link)
		}
		names[link.Name] = true
	}
}

// wantStorable checks that both databases can store the strings.
func wantStorable(t *testing.T, values ...string) {
	t.Helper()
	for _, s := range values {
		if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
			t.Errorf("%q cannot be stored as text", s)
		}
	}
}
