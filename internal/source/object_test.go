package source

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzObject compares how an object is walked with how encoding/json decodes it
// into a map, which is exact about keys too.
func FuzzObject(f *testing.F) {
	for _, body := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":null}`, `{"a":1,"a":null}`, `{"a":1,"A":2,"a":[]}`,
		`{"b":{"a":1},"a":"}\"\\","c":[{"a":2},"]"],"d":-1.5e+3 , "e" : true }`,
		`{"\u0061":"\u0000\ud800","b\\":1}`, "{\"a\":\"\xff\",\"\xff\":1}", "\n{\t\"a\"\r:\n1 }",
		`[]`, `null`, `"{}"`, `{"a":`, `{"a":1}x`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(raw, &want)
		got, err := parseBody(raw)
		if (err == nil) != (wantErr == nil && want != nil) {
			t.Fatalf("parseBody: %v, encoding/json: %v", err, wantErr)
		}
		if err != nil {
			return
		}
		for _, key := range []string{"a", "A", "event", "job_id", ""} {
			if _, ok := want[key]; !ok {
				want[key] = nil // a key that is missing is looked for too
			}
		}
		for key, value := range want {
			if strings.ContainsRune(key, '\ufffd') {
				continue // not one key but all that are not UTF-8
			}
			if string(value) == "null" {
				value = nil
			}
			if field := got.field(key); string(field) != string(value) {
				t.Errorf("field %q = %q, encoding/json has %q", key, field, value)
			}
			compareString(t, got, key, value)
		}
	})
}

func compareString(t *testing.T, o object, key string, value json.RawMessage) {
	t.Helper()
	var want string
	if json.Unmarshal(value, &want) != nil || !isString(value) {
		return
	}
	if got := o.scalar(key); got != want {
		t.Errorf("scalar %q = %q, encoding/json has %q", key, got, want)
	}
}
