package tasks

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseEvent holds that what is read without encoding/json is what that reads.
func FuzzParseEvent(f *testing.F) {
	for _, payload := range []string{
		`{"id":"a","source":"b","type":"c","job_id":"d","received_at":"2025-01-15T10:30:00.1Z","secret":"e","headers":{"A":"b","C":"d"},"body":"{\"a\":\"\\n\\u2028\"}"}`,
		`{"id":"\u00e9\ud83d\ude00\ud800","headers":{},"headers":{"A":"b"},"headers":{"C":"d"}}`, `{"id":"a",}`, `{,"id":"a"}`, `{"id":"a"}x`, `{ "id": "a" }`,
		`{"ID":"a"}`, `{"id":null}`, `{"id":"a","id":"b"}`, `{"headers":{"A":"b","A":"c"}}`, `{"headers":{,"A":"b"}}`, "{\"id\":\"\x01\"}", "{\"id\":\"\xff\"}",
		`{"received_at":"yesterday"}`, `{"body_base64":"AA=="}`, `{"id":"\u12"}`, `{"id":"\`, `{"id":"\q"}`, `{`, `{}`, ``,
	} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, ok := parseEvent(payload)
		if !ok {
			return
		}
		var want eventWire
		if err := json.Unmarshal(payload, &want); err != nil {
			t.Fatalf("%q was read; encoding/json says %v", payload, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-encoding/json +parseEvent):\n%s", payload, diff)
		}
	})
}

// TestParseEventReadsWhatIsWritten holds that it is not encoding/json, after all, that
// reads what is enqueued.
func TestParseEventReadsWhatIsWritten(t *testing.T) {
	at := time.Date(2025, 1, 15, 10, 30, 0, 123456789, time.UTC)
	for _, ev := range []Event{
		{ID: "a:1", Source: "a", ReceivedAt: at},
		{
			ID: "a:1", Source: "a", Type: "b\u2028\"\\", JobID: "c\x00", ReceivedAt: at, Secret: "d", Headers: map[string]string{"E": "f", "G": "é"},
			Body: []byte("{\"a\":\"\\u00e9\\\\\",\n\t\"b\":\"\u2029😀\"}"),
		},
	} {
		task, err := RecordEvent(ev)
		if err != nil {
			t.Fatal(err)
		}
		wire, ok := parseEvent(task.Payload)
		if !ok || wire.Body != string(ev.Body) || wire.Type != ev.Type || !wire.ReceivedAt.Equal(at) {
			t.Errorf("%s is read as %+v, %v", task.Payload, wire, ok)
		}
	}
}
