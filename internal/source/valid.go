package source

import "github.com/klinghook/klinghook/internal/jsontext"

// maxDepth is how deep arrays and objects may be nested; encoding/json's limit.
const maxDepth = 10000

// valid is [encoding/json.Valid] in a fraction of its time: every delivery passes through
// here, and only its owner's word tells whether it is JSON at all. A test and a fuzz
// target hold that both say the same.
func valid(text []byte) bool {
	v := validator{text: text, open: make([]byte, 0, 32)}
	for {
		if !v.value() {
			return false
		}
		for {
			if len(v.open) == 0 {
				v.space()
				return v.i == len(v.text)
			}
			more, ok := v.next()
			if !ok {
				return false
			}
			if more {
				break
			}
		}
	}
}

// validator reads a text. It does not recurse, so that a deep one needs no more than
// a byte for each level.
type validator struct {
	text []byte
	i    int
	// open are the brackets of the arrays and objects that have begun.
	open []byte
}

// peek returns the next byte, or 0, which stands nowhere outside strings.
func (v *validator) peek() byte {
	if v.i < len(v.text) {
		return v.text[v.i]
	}
	return 0
}

func (v *validator) space() {
	for v.i < len(v.text) {
		switch v.text[v.i] {
		case ' ', '\t', '\r', '\n':
			v.i++
		default:
			return
		}
	}
}

// value reads a value, of arrays and objects that are not empty no more than as far as
// the first value in them.
func (v *validator) value() bool {
	for {
		v.space()
		switch c := v.peek(); {
		case c == '"':
			return v.str()
		case c == '{' || c == '[':
			isEmpty, ok := v.begin(c)
			if !ok || isEmpty {
				return ok
			}
		case c == '-' || '0' <= c && c <= '9':
			return v.number()
		case c == 't':
			return v.literal("true")
		case c == 'f':
			return v.literal("false")
		default:
			return v.literal("null")
		}
	}
}

// begin reads the bracket that begins an array or an object and, in an object, the
// first key.
func (v *validator) begin(bracket byte) (isEmpty, ok bool) {
	if len(v.open) == maxDepth {
		return false, false
	}
	v.i++
	v.space()
	if v.peek() == bracket+2 { // ASCII has ] and } two behind [ and {
		v.i++
		return true, true
	}
	v.open = append(v.open, bracket)
	return false, bracket == '[' || v.key()
}

// next reads what follows a value in an array or an object: a comma and, in an object,
// a key, after which there is more; or the bracket that ends it.
func (v *validator) next() (more, ok bool) {
	bracket := v.open[len(v.open)-1]
	v.space()
	switch v.peek() {
	case ',':
		v.i++
		return true, bracket == '[' || v.key()
	case bracket + 2:
		v.i++
		v.open = v.open[:len(v.open)-1]
		return false, true
	}
	return false, false
}

// key reads a key and the colon after it.
func (v *validator) key() bool {
	v.space()
	if v.peek() != '"' || !v.str() {
		return false
	}
	v.space()
	if v.peek() != ':' {
		return false
	}
	v.i++
	return true
}

// str reads a string.
func (v *validator) str() bool {
	for i := v.i + 1; ; {
		i = jsontext.Plain(v.text, i)
		if i == len(v.text) {
			return false
		}
		switch v.text[i] {
		case '"':
			v.i = i + 1
			return true
		case '\\':
			n := escape(v.text[i+1:])
			if n == 0 {
				return false
			}
			i += 1 + n
		default:
			return false
		}
	}
}

// escape returns the length of what follows a backslash; 0 when it is no escape.
func escape(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	switch text[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		for i := 1; i <= 4; i++ {
			if i == len(text) || !isHex(text[i]) {
				return 0
			}
		}
		return 5
	}
	return 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// number reads a number: no zero before other digits, and a digit on either side of
// the point.
func (v *validator) number() bool {
	if v.peek() == '-' {
		v.i++
	}
	if v.peek() == '0' {
		v.i++
	} else if !v.digits() {
		return false
	}
	if v.peek() == '.' {
		v.i++
		if !v.digits() {
			return false
		}
	}
	if v.peek()|0x20 == 'e' {
		v.i++
		if c := v.peek(); c == '+' || c == '-' {
			v.i++
		}
		return v.digits()
	}
	return true
}

// digits reads one digit or more.
func (v *validator) digits() bool {
	from := v.i
	for c := v.peek(); '0' <= c && c <= '9'; c = v.peek() {
		v.i++
	}
	return v.i > from
}

func (v *validator) literal(word string) bool {
	end := v.i + len(word)
	if end > len(v.text) || string(v.text[v.i:end]) != word {
		return false
	}
	v.i = end
	return true
}
