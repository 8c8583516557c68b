package dashboard

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/tasks"
)

// queued returns the payload of an event with this body.
func queued(t testing.TB, body string) []byte {
	t.Helper()
	task, err := tasks.RecordEvent(tasks.Event{ID: "klingai:1", Source: "klingai", Type: "video.completed", Job: tasks.KlingJob(""), Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return task.Payload
}

func TestPayloadIsReadableAndWithoutSecrets(t *testing.T) {
	const tail = `,"id":"klingai:1","platform":"kling","received_at":"0001-01-01T00:00:00Z","source":"klingai","type":"video.completed"}`
	tests := []struct {
		name, kind string
		payload    []byte
		want       string
	}{
		{"no link", "notify:send", []byte(`{"notification_id":"ntf_1","job_id":"vid_1"}`), `{"job_id":"vid_1","notification_id":"ntf_1"}`},
		{"link without a query", "k", []byte(`{"u":"https://cdn.example/a/v.mp4"}`), `{"u":"https://cdn.example/a/v.mp4"}`},
		{"query", "k", []byte(`{"u":"https://cdn.example/a/v.mp4?X-Amz-Signature=00ff&Expires=9","n":1}`), `{"n":1,"u":"https://cdn.example/a/v.mp4?…"}`},
		{"escaped", "k", []byte(`{"u":"https:\/\/cdn.example\/v.mp4\u003fsig=00ff\u0026e=9"}`), `{"u":"https://cdn.example/v.mp4?…"}`},
		{"fragment", "k", []byte(`["https://cdn.example/v.mp4#token=00ff"]`), `["https://cdn.example/v.mp4#…"]`},
		{"query within a path", "k", []byte(`["https://proxy.example/https%3A%2F%2Fcdn.example%2Fv.mp4%3fsig%3D00ff"]`), `["https://proxy.example/https%3A%2F%2Fcdn.example%2Fv.mp4%3f…"]`},
		{"user and password", "k", []byte(`["HTTPS://me:pw@cdn.example/v.mp4?sig=1","telegram://token@telegram?chats=1"]`), `["HTTPS://…@cdn.example/v.mp4?…","telegram://…@telegram?…"]`},
		{"without a scheme", "k", []byte(`["//cdn.example/v.mp4?sig=00ff"]`), `["//cdn.example/v.mp4?…"]`},
		{"link in a sentence", "k", []byte(`{"error":"get https://cdn.example/v?a=1: timeout? yes"}`), `{"error":"get https://cdn.example/v?… timeout? yes"}`},
		{"link as a name", "k", []byte(`{"https://cdn.example/v?sig=00ff":1}`), `{"https://cdn.example/v?…":1}`},
		{"questions stay", "k", []byte(`{"prompt":"a cat? and/or a dog?! #1 <3 & me@example.com"}`), `{"prompt":"a cat? and/or a dog?! #1 <3 & me@example.com"}`},
		{"numbers as written", "k", []byte(` {"z": 1.50, "a": [true, null, 12345678901234567890] } `), `{"a":[true,null,12345678901234567890],"z":1.50}`},
		{"signatures", "k", []byte(`{"X-Kling-Signature":"sha256=00ff","signature":{"v":["00ff"]},"webhook-signature":7,"secret":"sha256:0badcafe"}`),
			`{"X-Kling-Signature":"…","secret":"sha256:0badcafe","signature":"…","webhook-signature":"…"}`},
		{"body", "event:record", queued(t, `{"event":"video.completed","data":{"video_url":"https:\/\/cdn.example\/v?sig=00ff\u0026a=1"},"signature":"sha256=00ff"}`),
			`{"body":{"data":{"video_url":"https://cdn.example/v?…"},"event":"video.completed","signature":"…"}` + tail},
		{"a body that is not UTF-8", "event:record", queued(t, "{\"p\":\"\xff\",\"u\":\"https://cdn.example/v?sig=00ff\"}"), `{"body":{"p":"�","u":"https://cdn.example/v?…"}` + tail},
		{"Chinese and emoji", "event:record", queued(t, `{"p":"一只猫\u3000👨‍👩‍👧"}`), `{"body":{"p":"一只猫` + "\u3000" + `👨‍👩‍👧"}` + tail},
		{"a body that only looks like JSON", "event:record", queued(t, `{"u":"https://cdn.example/v?sig=00ff"`), `{"body":"{\"u\":\"https://cdn.example/v?…"` + tail},
		{"not JSON", "k", []byte(`{"u":"https:\/\/me:pw@cdn.example\/v?sig=00ff`), `{"u":"https:\/\/…@cdn.example\/v?…`},
		{"not JSON, escaped twice", "k", []byte(`u: \"https:\\/\\/cdn.example\\/v\\u003Fsig=00ff\"`), `u: \"https:\\/\\/cdn.example\\/v\\u003F…`},
		{"not text", "k", []byte("\xff\x00a"), "�\x00a"},
		{"nothing", "k", nil, ""},
		{"too deep", "k", []byte(strings.Repeat("[", 1<<20)), strings.Repeat("[", 1<<20)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := format(tt.kind, tt.payload); got != tt.want {
				t.Errorf("format(%.200q)\n got %.300s\nwant %.300s", tt.payload, got, tt.want)
			}
		})
	}
}

// FuzzFormat hides a token in the query of a link, within text and up to three layers
// of JSON, and checks that format removes it.
func FuzzFormat(f *testing.F) {
	const token = "t0ken"
	f.Add("", "", byte(0))
	f.Add(`{"a":"`, `"}`, byte(0b101101))
	f.Add("see ", "&b=\u2028 \"", byte(0b11))
	f.Add("\\", "\xff\\", byte(0b111111))
	f.Fuzz(func(t *testing.T, before, after string, layers byte) {
		payload := before + "https://cdn.example/v.mp4?sig=" + token + after
		for range 3 {
			switch layers & 3 {
			case 1:
				payload = encode(t, map[string]any{payload: 1})
			case 2:
				payload = strings.ReplaceAll(encode(t, []string{payload}), "/", `\/`)
			case 3:
				payload = string(queued(t, payload))
			}
			layers >>= 2
		}
		for _, kind := range []string{"event:record", ""} {
			got := format(kind, []byte(payload))
			if strings.Contains(got, token) {
				t.Errorf("format(%q) = %q", payload, got)
			}
			if json.Valid([]byte(payload)) && !json.Valid([]byte(got)) {
				t.Errorf("format(%q) = %q, which is not JSON", payload, got)
			}
		}
	})
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
