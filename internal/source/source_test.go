package source_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/simulate"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// seedCompleted is the seed protocol's example, without spaces.
const seedCompleted = `{"event":"video.completed","timestamp":"2025-01-15T10:30:00Z","data":{` +
	`"job_id":"vid_abc123","status":"completed","video_url":"https://cdn.example.com/v.mp4?sig=1",` +
	`"thumbnail_url":"https://cdn.example.com/t.jpg","duration":5,"prompt":"Original prompt...",` +
	`"model":"kling-v1.5","created_at":"2025-01-15T10:25:00Z","completed_at":"2025-01-15T10:30:00Z"},` +
	`"signature":"sha256=..."}`

// Kling's own test vector, from the documentation of its callbacks.
const (
	klingSecret    = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
	klingID        = "9876543210"
	klingTimestamp = 1781080794
	klingBody      = `{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}`
	klingSignature = "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4="
)

func klingSignedAt() time.Time {
	return time.Unix(klingTimestamp, 0)
}

func klingHeaders() http.Header {
	return officialHeaders(klingID, strconv.Itoa(klingTimestamp), klingSignature)
}

func officialHeaders(id, timestamp, signature string) http.Header {
	header := make(http.Header)
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", timestamp)
	header.Set("webhook-signature", signature)
	return header
}

// sign signs as the fake Kling does.
func sign(t *testing.T, p simulate.CallbackFormat, secret string, at time.Time, body string) http.Header {
	t.Helper()
	header, err := p.Sign(secret, klingID, at, []byte(body))
	testenv.NoError(t, err)
	return header
}

func newSource(tb testing.TB, name string, secrets ...string) source.Source {
	tb.Helper()
	src, err := protocol(tb, name).New(secrets)
	testenv.NoError(tb, err)
	return src
}

func protocol(tb testing.TB, name string) source.Protocol {
	tb.Helper()
	for _, p := range source.Protocols() {
		if p.Name == name {
			return p
		}
	}
	tb.Fatalf("no protocol %q", name)
	return source.Protocol{}
}

func TestProtocols(t *testing.T) {
	var got []string
	for _, p := range source.Protocols() {
		got = append(got, p.Name+" "+p.Path+" "+p.SecretSetting)
		for _, name := range p.Headers {
			if canonical := http.CanonicalHeaderKey(name); name != canonical {
				t.Errorf("%s: header %q, want the canonical %q", p.Name, name, canonical)
			}
		}
	}
	want := []string{
		"klingai /webhooks/klingai KLINGAI_WEBHOOK_SECRET",
		"klingai-official /webhooks/klingai/official KLINGAI_OFFICIAL_WEBHOOK_SECRET",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Protocols (-want +got)\n%s", diff)
	}
}

// TestStoredHeadersAreEnoughToVerify also checks that each header is needed, exactly once.
func TestStoredHeadersAreEnoughToVerify(t *testing.T) {
	tests := []struct {
		name   string
		secret string
		header http.Header
		body   string
	}{
		{"klingai", seedSecret, sign(t, simulate.Seed, seedSecret, klingSignedAt(), seedCompleted), seedCompleted},
		{"klingai-official", klingSecret, klingHeaders(), klingBody},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := protocol(t, tt.name)
			src := newSource(t, tt.name, tt.secret)
			kept := make(http.Header)
			for _, name := range p.Headers {
				kept.Set(name, tt.header.Get(name))
			}
			if _, err := src.Verify(kept, []byte(tt.body), klingSignedAt()); err != nil {
				t.Errorf("all headers: %v", err)
			}
			for _, name := range p.Headers {
				less := kept.Clone()
				less.Del(name)
				wantRefused(t, src, less, tt.body, klingSignedAt(), name+" is missing")
				twice := kept.Clone()
				twice.Add(name, kept.Get(name))
				if name == "Webhook-Signature" { // may be split
					continue
				}
				wantRefused(t, src, twice, tt.body, klingSignedAt(), name+" is given more than once")
			}
		})
	}
}

func TestEveryCurrentSecretIsAccepted(t *testing.T) {
	for name, secrets := range map[string][]string{"klingai": {"old", "new", "older"}, "klingai-official": {bareSecret, klingSecret, "b2xkZXI="}} {
		signed := func(secret string) http.Header {
			p := simulate.Official
			if name == "klingai" {
				p = simulate.Seed
			}
			return sign(t, p, secret, klingSignedAt(), klingBody)
		}
		src := newSource(t, name, secrets[:2]...)
		for _, secret := range secrets[:2] {
			got, err := src.Verify(signed(secret), []byte(klingBody), klingSignedAt())
			if want := source.Fingerprint(secret); got != want || err != nil {
				t.Errorf("%s: Verify = %q, %v, want %q", name, got, err, want)
			}
		}
		wantRefused(t, src, signed(secrets[2]), klingBody, klingSignedAt(),
			fmt.Sprintf("signature does not match; secrets tried: 2; body of %d bytes; is the sender's secret in %s, ", len(klingBody), protocol(t, name).SecretSetting))
		wantRefused(t, newSource(t, name), signed(secrets[2]), klingBody, klingSignedAt(), "secrets tried: 0; ")
	}
}

// TestChangedDeliveriesAreRefused changes one bit of a signed delivery at a time, and
// cuts its body.
func TestChangedDeliveriesAreRefused(t *testing.T) {
	official, seed := newSource(t, "klingai-official", klingSecret), newSource(t, "klingai", seedSecret)
	accepted := func(signed []string) bool {
		if len(signed) == 2 {
			_, err := seed.Verify(seedHeader(signed[0]), []byte(signed[1]), time.Time{})
			return err == nil
		}
		_, err := official.Verify(officialHeaders(signed[0], signed[1], signed[2]), []byte(signed[3]), klingSignedAt())
		return err == nil
	}
	for _, signed := range [][]string{{klingID, strconv.Itoa(klingTimestamp), klingSignature, klingBody}, {seedDigits, seedBody}} {
		for part := range signed {
			for bit := range 8 * len(signed[part]) {
				changed := slices.Clone(signed)
				b := []byte(signed[part])
				b[bit/8] ^= 1 << (bit % 8)
				changed[part] = string(b)
				otherCase := len(signed) == 2 && part == 0 && strings.EqualFold(changed[0], seedDigits)
				if accepted(changed) && !otherCase {
					t.Fatalf("verifies with bit %d changed: %q", bit, changed[part])
				}
			}
		}
		last := len(signed) - 1
		for cut := range signed[last] {
			if accepted(append(slices.Clone(signed[:last]), signed[last][:cut])) {
				t.Fatalf("body cut at %d verifies", cut)
			}
		}
	}
}

func TestFingerprint(t *testing.T) {
	// printf %s s3cr3t | sha256sum
	if got, want := source.Fingerprint("s3cr3t"), "sha256:4e738ca5"; got != want {
		t.Errorf("Fingerprint = %q, want %q", got, want)
	}
}

// wantRefused checks that Verify refuses a delivery with this reason, without showing its
// headers.
func wantRefused(t *testing.T, src source.Source, header http.Header, body string, at time.Time, reason string) {
	t.Helper()
	secret, err := src.Verify(header, []byte(body), at)
	if secret != "" || !errors.Is(err, source.ErrSignature) {
		t.Fatalf("Verify = %q, %v, want no secret and ErrSignature", secret, err)
	}
	if !strings.Contains(err.Error(), reason) {
		t.Errorf("error %q, want one that says %q", err, reason)
	}
	for _, values := range header {
		for _, part := range strings.FieldsFunc(strings.Join(values, " "), isSeparator) {
			// Shorter parts, such as "v1", may be in the error for other reasons.
			if len(part) >= 8 && strings.Contains(err.Error(), part) {
				t.Errorf("error %q shows %q from the headers", err, part)
			}
		}
	}
}

func isSeparator(r rune) bool {
	return strings.ContainsRune(" ,=", r)
}

// wantSameJob checks that Update agrees with Identify.
func wantSameJob(t *testing.T, src source.Source, id source.Identity, body []byte) {
	t.Helper()
	update, err := src.Update(tasks.Event{ID: "klingai:1", Type: id.Type, Job: tasks.KlingJob(id.JobID), Body: body})
	if err != nil {
		t.Fatalf("Identify succeeds, Update: %v", err)
	}
	if known := slices.Contains(tasks.KnownTypes(), id.Type); known != (update != nil) {
		t.Fatalf("Update of type %q = %+v", id.Type, update)
	}
	if update == nil {
		return
	}
	if update.Job != tasks.KlingJob(id.JobID) || id.JobID == "" {
		t.Errorf("job %q by Update, %q by Identify", update.Job, id.JobID)
	}
	if want := "video." + string(update.Status); id.Type != want {
		t.Errorf("status %q by Update, type %q by Identify", update.Status, id.Type)
	}
	if update.EventID != "klingai:1" {
		t.Errorf("event id %q by Update", update.EventID)
	}
}

// wantUnreadable checks that Identify and Update return the same error, and Update
// permanently.
func wantUnreadable(t *testing.T, src source.Source, body []byte, want string) {
	t.Helper()
	id, err := src.Identify(http.Header{}, body)
	if err == nil || err.Error() != want {
		t.Errorf("Identify = %+v, %v, want error %q", id, err, want)
	}
	if keep := !strings.HasPrefix(want, "body is not JSON"); errors.Is(err, source.ErrUnknownShape) != keep || id.Type != source.TypeUnreadable || id.JobID != "" {
		t.Errorf("Identify = %+v, %v; want it kept: %t", id, err, keep)
	}
	update, err := src.Update(tasks.Event{Body: body})
	if err == nil || err.Error() != want || !tasks.IsPermanent(err) {
		t.Errorf("Update = %+v, %v, want permanent error %q", update, err, want)
	}
}
