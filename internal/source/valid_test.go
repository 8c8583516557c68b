package source

import (
	"encoding/json"
	"strings"
	"testing"
)

// texts are JSON and what is nearly JSON.
func texts() []string {
	deep := func(n int, open, shut string) string { return strings.Repeat(open, n) + strings.Repeat(shut, n) }
	return []string{
		"", " ", "{}", "[]", " { } ", "[ ]", "null", "true", "false", "nul", "nulll", "True", "0", "-0", "00", "01", "-", "1.", ".1", "1.5", "1e5", "1E+5", "1e", "1e+", "1.e5", "-1.25e-3", "+1", "0x1",
		`""`, `"a`, `"a\"`, `"\u00e9"`, `"\u00g9"`, `"\u00"`, `"\u"`, `"\x"`, `"\/\b\f\n\r\t\\\""`, "\"\t\"", "\"\x00\"", "\"\x7f\xff\"", `"\`, `'a'`,
		`{"a":1}`, `{"a":1,}`, `{"a" : [1, {"b":null} , "c"] }`, `{a:1}`, `{"a"}`, `{"a":}`, `{"a":1 "b":2}`, `{,}`, `{"a":1]`, `[1}`, `[1,]`, `[,1]`, `[1 2]`, `[1,2`, `[`, `{`, `{"`, `{"a`, `{"a":`, `{"a":{`, `]`, `}`,
		"{}{}", "1 2", "{} x", "\ufeff{}", "{\"a\":1}\n", "\v{}", "{\"a\"\u00a0:1}", "tru", "[true,false,null]", "[nulL]",
		deep(maxDepth-1, "[", "]"), deep(maxDepth, "[", "]"), deep(maxDepth+1, "[", "]"), deep(maxDepth, `{"a":`, "}"), deep(9999, `{"a":`, "}") + "x",
		strings.Repeat(`{"a":`, 9999) + "1" + strings.Repeat("}", 9999), strings.Repeat(`{"a":`, 10000) + "{}" + strings.Repeat("}", 10000), strings.Repeat(`{"a":`, 9999) + "[]" + strings.Repeat("}", 9999),
		`{"event":"video.completed","timestamp":"2025-01-15T10:30:00Z","data":{"job_id":"vid_1","progress":45.5,"tags":[],"more":{}}}`,
	}
}

func TestValid(t *testing.T) {
	for _, text := range texts() {
		if got, want := valid([]byte(text)), json.Valid([]byte(text)); got != want {
			t.Errorf("valid(%.60q of %d bytes) is %t, want %t", text, len(text), got, want)
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, text := range texts() {
		if len(text) < 200 {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := valid(text), json.Valid(text); got != want {
			t.Errorf("valid(%q) is %t, want %t", text, got, want)
		}
	})
}

func BenchmarkValid(b *testing.B) {
	body := []byte(`{"event":"video.processing","timestamp":"2026-01-15T10:30:00Z","data":{"job_id":"vid_bench_000000001","status":"processing","progress":42,"duration":5,` +
		`"model":"kling-v1.5","created_at":"2026-01-15T10:25:00Z","prompt":"` + strings.Repeat("A lighthouse at dawn, slow pan over calm water. ", 5) + `"}}`)
	for name, check := range map[string]func([]byte) bool{"ours": valid, "encoding/json": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if !check(body) {
					b.Fatal("not valid")
				}
			}
		})
	}
}
