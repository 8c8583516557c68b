package jsontext_test

import (
	"bytes"
	"testing"

	"github.com/klinghook/klinghook/internal/jsontext"
)

// plain is what Plain does, a byte at a time.
func plain(text []byte, i int) int {
	for ; i < len(text); i++ {
		if text[i] < ' ' || text[i] == '"' || text[i] == '\\' {
			break
		}
	}
	return i
}

// TestPlain holds that each byte is told from its neighbours, at each place in a word
// and beyond the last.
func TestPlain(t *testing.T) {
	for c := range 256 {
		for _, filler := range []byte{' ', '!', '#', ']', 0x7f, 0x80, 0xa2, 0xff} {
			for place := range 20 {
				text := bytes.Repeat([]byte{filler}, 20)
				text[place] = byte(c)
				for from := range 3 {
					want := plain(text, from)
					if got := jsontext.Plain(text, from); got != want {
						t.Fatalf("Plain(%q, %d) = %d, want %d", text, from, got, want)
					}
					if got := jsontext.Plain(string(text), from); got != want {
						t.Fatalf("Plain(%q as a string, %d) = %d, want %d", text, from, got, want)
					}
				}
			}
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte(`a text with "quotes" and \ and more`), 3)
	f.Fuzz(func(t *testing.T, text []byte, from int) {
		if from < 0 || from > len(text) {
			return
		}
		if got, want := jsontext.Plain(text, from), plain(text, from); got != want {
			t.Fatalf("Plain(%q, %d) = %d, want %d", text, from, got, want)
		}
	})
}
