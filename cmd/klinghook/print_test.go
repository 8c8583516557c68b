package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/klinghook/klinghook/internal/testenv"
)

// TestNoOutputControlsTheTerminal prints each kind of character as JSON, in a table, as
// fields and in a line.
func TestNoOutputControlsTheTerminal(t *testing.T) {
	tests := []struct {
		name, text        string
		inJSON, inOneLine string
	}{
		{"plain", "héllo 視頻 <&>", "héllo 視頻 <&>", "héllo 視頻 <&>"},
		{"emoji with joiners", "👩\u200d🚀", "👩\u200d🚀", "👩\u200d🚀"},
		{"lines", "a\r\n\tb", `a\r\n\tb`, "a   b"},
		{"escape sequence", "\x1b[2J", `\u001b[2J`, `\u001b[2J`},
		{"C1 control", "\u009b2J\u0085", `\u009b2J\u0085`, `\u009b2J\u0085`},
		{"delete", "\x7f", `\u007f`, `\u007f`},
		{"bidi marks", "\u202egpj\u2066\u2069\u200f\u061c", `\u202egpj\u2066\u2069\u200f\u061c`, `\u202egpj\u2066\u2069\u200f\u061c`},
		{"line separators", "\u2028\u2029", `\u2028\u2029`, `\u2028\u2029`},
		{"invisible", "a\u200b\ufeff\u00ad", `a\u200b\ufeff\u00ad`, `a\u200b\ufeff\u00ad`},
		{"beyond 16 bits", "\U000e0041", `\udb40\udc41`, `\udb40\udc41`},
		{"invalid UTF-8", "\x9b2J", `\ufffd2J`, "\ufffd2J"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			testenv.NoError(t, printJSON(&out, []string{tt.text}))
			if want := "[\n  \"" + tt.inJSON + "\"\n]\n"; out.String() != want {
				t.Errorf("JSON is %q, want %q", out.String(), want)
			}
			var back []string
			if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back[0] != strings.ToValidUTF8(tt.text, "\ufffd") {
				t.Errorf("the JSON reads %q, %v", back, err)
			}
			out.Reset()
			rows := table[string]{heading: []string{"TEXT", "END"}, row: func(text string) []string { return []string{text, "end"} }}
			testenv.NoError(t, rows.print(&out, []string{tt.text}, false))
			testenv.NoError(t, printFields(&out, [][2]string{{"text", tt.text}}))
			if strings.Count(out.String(), tt.inOneLine) != 2 || strings.Count(out.String(), "\n") != 3 {
				t.Errorf("printed %q, want %q in two lines", out.String(), tt.inOneLine)
			}
			if i := strings.IndexFunc(out.String(), func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); i >= 0 {
				t.Errorf("printed a control character: %q", out.String())
			}
		})
	}
}

func TestErrorTextKeepsTheCause(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"short", "send: 404 Not Found", "send: 404 Not Found"},
		{
			"long", "download video of " + strings.Repeat("v", 90) + ": fetch it from cdn.example: 404 Not Found",
			"download video of vv…" + strings.Repeat("v", 27) + ": fetch it from cdn.example: 404 Not Found",
		},
		{"panic", "panic: nil map\ngoroutine 1 [running]", "panic: nil map"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := errorText(tt.text); got != tt.want {
				t.Errorf("errorText = %q, want %q", got, tt.want)
			}
		})
	}
}
