package tasks_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/tasks"
)

func TestSafeID(t *testing.T) {
	tests := []struct {
		name string
		id   string
		want string
	}{
		{"plain", "vid_abc-123.v2", "vid_abc-123.v2"},
		{"case is kept", "VID", "VID"},
		{"empty", "", ""},
		{"path", "../../etc/passwd", "~2e.~2f..~2fetc~2fpasswd"},
		{"hidden file", ".env", "~2eenv"},
		{"dot", ".", "~2e"},
		{"backslash", `a\b`, "a~5cb"},
		{"colon", "a:b", "a~3ab"},
		{"space", "a b", "a~20b"},
		{"escape character", "~2f", "~7e2f"},
		{"NUL", "a\x00", "a~00"},
		{"not UTF-8", "\xff", "~ff"},
		{"letters beyond ASCII", "é", "~c3~a9"},
		{"longest that stays", strings.Repeat("a", 128), strings.Repeat("a", 128)},
		// printf %0129d | tr 0 a | sha256sum
		{"cut", strings.Repeat("a", 129), strings.Repeat("a", 94) + "~~c12cb024a2e5551cca0e08fce8f1c5e3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tasks.SafeID(tt.id); got != tt.want {
				t.Errorf("SafeID(%q) = %q, want %q", tt.id, got, tt.want)
			}
		})
	}
}

// FuzzSafeID checks that every result is safe as a file name and that ids stay different.
func FuzzSafeID(f *testing.F) {
	long := strings.Repeat("a", 129)
	for _, pair := range [][2]string{
		{"vid_1", "vid_2"}, {"", "."}, {"..", "~2e."}, {"/", "~2f"}, {"~", "~7e"}, {"a", "A"},
		{"\xff", "\ufffd"}, {long, long + "a"}, {long, tasks.SafeID(long)}, {strings.Repeat("/", 43), strings.Repeat("~2f", 43)},
	} {
		f.Add(pair[0], pair[1])
	}
	safe := regexp.MustCompile(`^([A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127})?$`)
	f.Fuzz(func(t *testing.T, a, b string) {
		safeA, safeB := tasks.SafeID(a), tasks.SafeID(b)
		if !safe.MatchString(safeA) {
			t.Errorf("SafeID(%q) = %q, want %s", a, safeA, safe)
		}
		if (safeA == "") != (a == "") {
			t.Errorf("SafeID(%q) = %q", a, safeA)
		}
		if (a == b) != (safeA == safeB) {
			t.Errorf("SafeID(%q) = %q, SafeID(%q) = %q", a, safeA, b, safeB)
		}
	})
}

func TestEventID(t *testing.T) {
	tests := []struct {
		name     string
		senderID string
		body     string
		want     string
	}{
		{"the sender's id", "evt_1", "{}", "klingai:evt_1"},
		{"the sender's id, unsafe", "a/b", "{}", "klingai:a~2fb"},
		// printf '{}' | sha256sum
		{"the body", "", "{}", "klingai:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tasks.EventID("klingai", tt.senderID, []byte(tt.body)); got != tt.want {
				t.Errorf("EventID = %q, want %q", got, tt.want)
			}
		})
	}
}
