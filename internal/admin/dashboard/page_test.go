package dashboard

import (
	"testing"
	"time"
)

func TestFormats(t *testing.T) {
	for _, tt := range []struct{ name, got, want string }{
		{"no length", length(0), "0:00"},
		{"length", length(65*time.Second + 600*time.Millisecond), "1:06"},
		{"instant", took(10 * time.Microsecond), "< 1 ms"},
		{"milliseconds", took(340 * time.Millisecond), "340 ms"},
		{"seconds", took(1250 * time.Millisecond), "1.2 s"},
		{"minutes", took(125 * time.Second), "2 min 5 s"},
		{"hours", took(61 * time.Minute), "1 h 1 min"},
		{"days", took(50 * time.Hour), "2 days"},
		{"now", ago(-time.Second), "just now"},
		{"seconds ago", ago(59 * time.Second), "59 s ago"},
		{"minutes ago", ago(59 * time.Minute), "59 min ago"},
		{"hours ago", ago(47 * time.Hour), "47 h ago"},
		{"days ago", ago(49 * time.Hour), "2 days ago"},
		{"bytes", size(999), "999 B"},
		{"megabytes", size(3_440_000), "3.4 MB"},
		{"many megabytes", size(344_000_000), "344 MB"},
		{"small number", count(999), "999"},
		{"large number", count(int64(1234567)), "1,234,567"},
		{"negative number", count(-123), "-123"},
		{"status", title("completed"), "Completed"},
		{"Chinese", title("猫"), "猫"},
		{"emoji of several characters", plain("👨‍👩‍👧"), "👨‍👩‍👧"},
		{"override of the direction", plain("a\u202eb\u2066c\x00\x1b\n"), "a�b�c��\n"},
		{"not UTF-8", plain("a\xff"), "a�"},
		{"long text", clip(3, "猫猫猫猫"), "猫猫猫…"},
		{"short text", clip(3, "abc"), "abc"},
		{"event", pretty([]byte(`{"b":{"u":"https://cdn.example/v?sig=1"},"a":1}`)), "{\n  \"a\": 1,\n  \"b\": {\n    \"u\": \"https://cdn.example/v?…\"\n  }\n}"},
		{"event that is not JSON", pretty([]byte(`u=https://me:pw@cdn.example/v?sig=1`)), "u=https://…@cdn.example/v?…"},
		{"source", sourceName("klingai-official"), "callback"},
		{"unknown source", sourceName("x"), "x"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}
