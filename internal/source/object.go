package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/klinghook/klinghook/internal/jsontext"
)

// object is the text of a JSON object, known to be valid. Its keys count
// exactly as they are spelt, where decoding into a struct would take
// {"EVENT": …} for "event". Of a key given twice the last value counts, as
// anywhere in encoding/json, and a null is the same as no value.
//
// A body is checked once, by encoding/json, and then only walked: an event is
// identified by two of its values, and decoding all of them into maps takes
// five times as long.
type object []byte

// parseBody reads a whole body, which must be one JSON object. The errors are
// worded for the sender.
func parseBody(raw []byte) (object, error) {
	if !valid(raw) {
		var reason json.RawMessage
		return nil, fmt.Errorf("body is not JSON: %w", json.Unmarshal(raw, &reason))
	}
	body := bytes.TrimSpace(raw)
	o := parseObject(body)
	if o == nil {
		return nil, fmt.Errorf("body is %s, not an object", typeName(body))
	}
	return o, nil
}

// parseObject returns a value as an object; nil when it is none.
func parseObject(value json.RawMessage) object {
	if len(value) == 0 || value[0] != '{' {
		return nil
	}
	return object(value)
}

// field returns the value of a key; nil when there is none.
func (o object) field(key string) json.RawMessage {
	if o == nil {
		return nil
	}
	var found json.RawMessage
	for i := skipSpace(o, 1); o[i] != '}'; {
		keyEnd := skipString(o, i)
		start := skipSpace(o, skipSpace(o, keyEnd)+len(":"))
		end := skipValue(o, start)
		if isKey(json.RawMessage(o[i:keyEnd]), key) {
			found = json.RawMessage(o[start:end])
		}
		i = skipSpace(o, end)
		if o[i] == ',' {
			i = skipSpace(o, i+1)
		}
	}
	if string(found) == "null" {
		return nil
	}
	return found
}

// isKey reports whether a key as it is written in JSON is the given one.
func isKey(written json.RawMessage, key string) bool {
	return string(written[1:len(written)-1]) == key || bytes.IndexByte(written, '\\') >= 0 && parseString(written) == key
}

// parseString returns the content of a valid JSON string.
func parseString(written json.RawMessage) string {
	if bytes.IndexByte(written, '\\') < 0 && utf8.Valid(written) {
		return string(written[1 : len(written)-1])
	}
	var s string
	if json.Unmarshal(written, &s) != nil {
		return ""
	}
	return s
}

// skipSpace returns where the white space that starts at i ends.
func skipSpace(text []byte, i int) int {
	for text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n' {
		i++
	}
	return i
}

// skipString returns where the string that starts at i ends.
func skipString(text []byte, i int) int {
	for i = jsontext.Plain(text, i+1); text[i] != '"'; {
		i = jsontext.Plain(text, i+len(`\"`))
	}
	return i + 1
}

// skipValue returns where the value that starts at i ends, within an object. It
// does not recurse, so that it needs no more memory for a value that is deep.
func skipValue(text []byte, i int) int {
	depth := 0
	for {
		switch text[i] {
		case '"':
			i = skipString(text, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\r', '\n':
			i++ // only between values, where depth is not 0
		default:
			i = skipLiteral(text, i)
		}
		if depth == 0 {
			return i
		}
	}
}

// skipLiteral returns where the number, true, false or null that starts at i
// ends.
func skipLiteral(text []byte, i int) int {
	for {
		switch text[i] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return i
		}
		i++
	}
}

// typeName names the type of a value, with its article.
func typeName(value json.RawMessage) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

func isString(value json.RawMessage) bool {
	return len(value) > 0 && value[0] == '"'
}

func isNumber(value json.RawMessage) bool {
	return len(value) > 0 && (value[0] == '-' || '0' <= value[0] && value[0] <= '9')
}
