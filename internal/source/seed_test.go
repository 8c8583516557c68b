package source_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/source"
)

// A test vector from OpenSSL:
//
//	printf %s "$seedBody" | openssl dgst -sha256 -hmac "$seedSecret"
const (
	seedSecret = "s3cr3t"
	seedBody   = `{"event":"video.completed","data":{"job_id":"vid_abc123"}}`
	seedDigits = "df5a899416924e10405e92a7d25e4f077c00ac7d45f10b3e78cb1bcd4d93cf39"
)

func seedHeader(signature string) http.Header {
	return http.Header{"X-Kling-Signature": {signature}}
}

func TestSeedAcceptsSignatures(t *testing.T) {
	tests := []struct {
		name      string
		secret    string
		signature string
		body      string
	}{
		{"as Kling sends it", seedSecret, "sha256=" + seedDigits, seedBody},
		{"bare digits", seedSecret, seedDigits, seedBody},
		{"upper-case digits", seedSecret, "sha256=" + strings.ToUpper(seedDigits), seedBody},
		{"upper-case prefix", seedSecret, "SHA256=" + seedDigits, seedBody},
		{"space around", seedSecret, " \tsha256=" + seedDigits + "  ", seedBody},
		{"empty body", seedSecret, "3c81cc9496e1c25250f6ccb85f697c1bb623e3480d6538ad8cb6a6648142777d", ""},
		{"bytes that are not text", "пароль", "93c7eff8c4f5a60e19da13b862171fd4067b676fb7a6eed58aba7872a7311858", "x\x00\xff"},
		{"other secret", "n3w", "7537a5ccbdd0b5eb49f8a6de31c693a979e802e45d70e85e2a13ea3279bb2af6", "{}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := newSource(t, "klingai", tt.secret)
			got, err := src.Verify(seedHeader(tt.signature), []byte(tt.body), time.Time{})
			if want := source.Fingerprint(tt.secret); got != want || err != nil {
				t.Errorf("Verify = %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestSeedRefusesSignatures(t *testing.T) {
	const (
		missing   = "X-Kling-Signature is missing"
		malformed = "X-Kling-Signature is malformed"
		mismatch  = "signature does not match; secrets tried: 1; body of "
	)
	tests := []struct {
		name   string
		header http.Header
		body   string
		want   string
	}{
		{"no header", nil, seedBody, missing},
		{"empty", seedHeader(""), seedBody, missing},
		{"only space", seedHeader("  "), seedBody, missing},
		{"only the prefix", seedHeader("sha256="), seedBody, malformed},
		{"prefix twice", seedHeader("sha256=sha256=" + seedDigits), seedBody, malformed},
		{"other algorithm", seedHeader("sha1=" + seedDigits), seedBody, malformed},
		{"cut", seedHeader(seedDigits[:62]), seedBody, malformed},
		{"odd", seedHeader(seedDigits[:63]), seedBody, malformed},
		{"too long", seedHeader(seedDigits + "00"), seedBody, malformed},
		{"no hex", seedHeader("g" + seedDigits[1:]), seedBody, malformed},
		{"space within", seedHeader("sha256= " + seedDigits), seedBody, malformed},
		{"list in one value", seedHeader(seedDigits + "," + seedDigits), seedBody, malformed},
		{"given twice", http.Header{"X-Kling-Signature": {seedDigits, seedDigits}}, seedBody, "more than once"},
		{"other digits", seedHeader("0" + seedDigits[1:]), seedBody, mismatch},
		{"other body", seedHeader(seedDigits), seedBody + "\n", mismatch},
		{"empty key", seedHeader("409e4b08cc10bf235a344f5a252b9fcddaedd4442b227a12faa4c4d8dfca04b8"), seedBody, mismatch},
	}
	src := newSource(t, "klingai", seedSecret)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantRefused(t, src, tt.header, tt.body, time.Time{}, tt.want)
		})
	}
}

func TestSeedRefusesAnEmptySecret(t *testing.T) {
	_, err := protocol(t, "klingai").New([]string{"s3cr3t", ""})
	if err == nil || !strings.Contains(err.Error(), "secret 2 of 2 is empty") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("New = %v, want an error about the second secret that shows neither", err)
	}
}

func TestSeedIdentifiesEvents(t *testing.T) {
	completed := source.Identity{Type: "video.completed", JobID: "vid_1"}
	tests := []struct {
		name string
		body string
		want source.Identity
	}{
		{"as described", seedCompleted, source.Identity{Type: "video.completed", JobID: "vid_abc123"}},
		{"least", `{"event":"video.completed","data":{"job_id":"vid_1"}}`, completed},
		{"spaced", " \r\n{ \"data\" :\t{ \"x\" : 1 , \"job_id\" : \"vid_1\" } , \"event\" : \"video.completed\" }\n", completed},
		{"other fields of any type", `{"x":[{"event":"no"},"}"],"event":"video.completed","timestamp":{},"data":{"duration":[],"y":"\\\"{","job_id":"vid_1","video_url":7,"z":-1.5e3}}`, completed},
		{"byte order mark", "\ufeff" + `{"event":"video.completed","data":{"job_id":"vid_1"}}`, completed},
		{"escaped", `{"\u0065vent":"video\u002ecompleted","data":{"job\u005fid":"vid\u005f1"}}`, completed},
		{"last of duplicates", `{"event":"x","event":"video.completed","data":{"job_id":"no"},"data":{"job_id":"no","job_id":"vid_1"}}`, completed},
		{"keys in other case", `{"EVENT":"no","event":"video.completed","Event":"no","data":{"Job_Id":"no","job_id":"vid_1","JOB_ID":"no"},"DATA":{}}`, completed},
		{"number for id", `{"event":"video.created","data":{"job_id":12345678901234567890}}`, source.Identity{Type: "video.created", JobID: "12345678901234567890"}},
		{"longest id", `{"event":"video.created","data":{"job_id":"` + strings.Repeat("a", 256) + `"}}`, source.Identity{Type: "video.created", JobID: strings.Repeat("a", 256)}},
		{"path for id", `{"event":"video.created","data":{"job_id":"../../etc"}}`, source.Identity{Type: "video.created", JobID: "../../etc"}},
		{"another spelling", `{"event":"Video.Canceled","data":{"job_id":"vid_1"}}`, source.Identity{Type: "video.cancelled", JobID: "vid_1"}},
		{"data in a list", `{"event":"video.completed","data":[{"job_id":"vid_1"}]}`, completed},
		{"a status is no type", `{"event":"success","data":{}}`, source.Identity{Type: "success"}},
		{"unknown type", `{"event":"video.upscaled","data":{"job_id":"vid_1"}}`, source.Identity{Type: "video.upscaled", JobID: "vid_1"}},
		{"unknown type, no data", `{"event":"ping"}`, source.Identity{Type: "ping"}},
		{"unknown type, data no object", `{"event":"ping","data":[1]}`, source.Identity{Type: "ping"}},
		{"unknown type, unusable id", `{"event":"ping","data":{"job_id":{}}}`, source.Identity{Type: "ping"}},
		{"unknown type, longest", `{"event":"` + strings.Repeat("e", 128) + `"}`, source.Identity{Type: strings.Repeat("e", 128)}},
	}
	src := newSource(t, "klingai")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := src.Identify(nil, []byte(tt.body))
			if got != tt.want || err != nil {
				t.Errorf("Identify = %+v, %v, want %+v", got, err, tt.want)
			}
			wantSameJob(t, src, got, []byte(tt.body))
		})
	}
}

func TestSeedRefusesBodies(t *testing.T) {
	event := func(value string) string { return fmt.Sprintf(`{"event":%s,"data":{"job_id":"vid_1"}}`, value) }
	data := func(value string) string { return fmt.Sprintf(`{"event":"video.completed","data":%s}`, value) }
	job := func(value string) string { return data(`{"job_id":` + value + `}`) }
	tests := []struct {
		name string
		body string
		want string
	}{
		{"empty", ``, `body is not JSON: unexpected end of JSON input`},
		{"cut", seedCompleted[:100], `body is not JSON: unexpected end of JSON input`},
		{"form", `event=video.completed`, `body is not JSON: invalid character 'e' looking for beginning of value`},
		{"trailing data", seedCompleted + `{}`, `body is not JSON: invalid character '{' after top-level value`},
		{"byte order mark twice", "\ufeff\ufeff" + seedCompleted, `body is not JSON: invalid character 'ï' looking for beginning of value`},
		{"byte order mark and an array", "\ufeff[]", `body is an array, not an object`},
		{"only a byte order mark", "\ufeff", `body is not JSON: unexpected end of JSON input`},
		{"too deep", strings.Repeat("[", 10001), `body is not JSON: invalid character '[' exceeded max depth`},
		{"array", ` [` + seedCompleted + `]`, `body is an array, not an object`},
		{"null", `null`, `body is null, not an object`},
		{"string", `"video.completed"`, `body is a string, not an object`},
		{"number", `-1`, `body is a number, not an object`},
		{"boolean", `true`, `body is a boolean, not an object`},
		{"no event", `{"data":{"job_id":"vid_1"}}`, `"event" is missing`},
		{"event in other case", `{"Event":"video.completed","data":{"job_id":"vid_1"}}`, `"event" is missing`},
		{"event null", event(`null`), `"event" is missing`},
		{"event number", event(`1`), `"event" is a number, not a string`},
		{"event object", event(`{}`), `"event" is an object, not a string`},
		{"event empty", event(`""`), `"event" is empty`},
		{"event long", event(`"` + strings.Repeat("é", 64) + `e"`), `"event" is longer than 128 bytes`},
		{"event with control character", event(`"video.completed\n"`), `"event" has a control character`},
		{"no data", `{"event":"video.completed"}`, `"data" is missing`},
		{"data null", data(`null`), `"data" is missing`},
		{"data array", data(`[{"job_id":"vid_1"},{"job_id":"vid_2"}]`), `"data" is an array, not an object`},
		{"data string", data(`"{}"`), `"data" is a string, not an object`},
		{"no job_id", data(`{}`), `"data.job_id" is missing`},
		{"job_id in other case", data(`{"JOB_ID":"vid_1"}`), `"data.job_id" is missing`},
		{"job_id one level up", `{"event":"video.completed","job_id":"vid_1","data":{}}`, `"data.job_id" is missing`},
		{"job_id null", job(`null`), `"data.job_id" is missing`},
		{"job_id boolean", job(`false`), `"data.job_id" is a boolean, not a string`},
		{"job_id empty", job(`""`), `"data.job_id" is empty`},
		{"job_id long", job(`"` + strings.Repeat("a", 257) + `"`), `"data.job_id" is longer than 256 bytes`},
		{"job_id long number", job(strings.Repeat("1", 257)), `"data.job_id" is longer than 256 bytes`},
		{"job_id with NUL", job(`"vid\u0000"`), `"data.job_id" has a control character`},
		{"job_id of blanks", job(`" \u00a0"`), `"data.job_id" is empty`},
		{"job_id with half a surrogate", job(`"vid\ud800"`), `"data.job_id" is not UTF-8`},
		{"job_id that is not UTF-8", job("\"vid\xff\""), `"data.job_id" is not UTF-8`},
		{"job_id with delete", job("\"vid\x7f\""), `"data.job_id" has a control character`},
		{"job_id with C1 control", job(`"vid\u0085"`), `"data.job_id" has a control character`},
	}
	src := newSource(t, "klingai")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantUnreadable(t, src, []byte(tt.body), tt.want)
		})
	}
}
