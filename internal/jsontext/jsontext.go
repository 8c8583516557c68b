// Package jsontext finds the ends of runs in the text of JSON strings, for those who
// read and write JSON where reflection would cost more than all else.
package jsontext

import "math/bits"

// The bytes of a word of eight: their lowest bits, and their highest.
const (
	lowest  = 0x0101010101010101
	highest = 0x80 * lowest
)

// Plain returns where the bytes that a JSON string holds as they are end, beginning at
// i: the index of the first quotation mark, backslash or control character (below
// U+0020), or the length of the text. It looks at eight bytes at a time.
func Plain[T string | []byte](text T, i int) int {
	for ; i+8 <= len(text); i += 8 {
		if found := special(word(text, i)); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// word returns eight bytes, the first of them lowest.
func word[T string | []byte](text T, i int) uint64 {
	_ = text[i+7]
	return uint64(text[i]) | uint64(text[i+1])<<8 | uint64(text[i+2])<<16 | uint64(text[i+3])<<24 |
		uint64(text[i+4])<<32 | uint64(text[i+5])<<40 | uint64(text[i+6])<<48 | uint64(text[i+7])<<56
}

// special sets the highest bit of the first byte of w that is special. Bytes above it
// may be marked without being special: subtracting borrows from them.
func special(w uint64) uint64 {
	control := (w - ' '*lowest) &^ w
	quote := w ^ '"'*lowest
	quote = (quote - lowest) &^ quote
	backslash := w ^ '\\'*lowest
	backslash = (backslash - lowest) &^ backslash
	return (control | quote | backslash) & highest
}
