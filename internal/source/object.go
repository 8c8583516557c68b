package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Object is a JSON object whose values are read leniently: a value that is missing
// or has another type reads as zero. Keys match exactly, while decoding into a
// struct would accept "EVENT" for "event". The last of duplicate keys counts, and
// null is the same as no value.
type Object map[string]json.RawMessage

// ParseObject returns nil if the value is not an object.
func ParseObject(value []byte) Object {
	var o Object
	if json.Unmarshal(WithoutMark(value), &o) != nil {
		return nil
	}
	return o
}

// WithoutMark returns JSON without the UTF-8 byte order mark before it.
func WithoutMark(raw []byte) []byte { return bytes.TrimPrefix(raw, []byte("\ufeff")) }

// parseBody reads a whole body. Its errors are worded for the sender.
func parseBody(raw []byte) (Object, error) {
	var o Object
	raw = WithoutMark(raw)
	err := json.Unmarshal(raw, &o)
	var otherType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &otherType), err == nil && o == nil:
		return nil, fmt.Errorf("body is %s, not an object", typeName(bytes.TrimSpace(raw)))
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	return o, nil
}

// Value returns the value of a key as it is written; nil if there is none.
func (o Object) Value(key string) json.RawMessage {
	if value := o[key]; string(value) != "null" {
		return value
	}
	return nil
}

// Object returns the object under a key.
func (o Object) Object(key string) Object { return ParseObject(o.Value(key)) }

// Objects returns the objects in the list under a key, or the single object there.
func (o Object) Objects(key string) []Object {
	var objects []Object
	for _, element := range Elements(o.Value(key)) {
		if element := ParseObject(element); element != nil {
			objects = append(objects, element)
		}
	}
	return objects
}

// Elements returns the values of a list, or a single object as a list of one.
func Elements(value json.RawMessage) []json.RawMessage {
	if len(value) > 0 && value[0] == '{' {
		return []json.RawMessage{value}
	}
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		return nil
	}
	return list
}

// Scalar returns the string under a key, or the number there as it is written.
func (o Object) Scalar(key string) string {
	value := o.Value(key)
	if isNumber(value) {
		return string(value)
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// Text returns the string under a key without NUL, which PostgreSQL cannot store.
func (o Object) Text(key string) string {
	if isNumber(o.Value(key)) {
		return ""
	}
	return withoutNUL(o.Scalar(key))
}

func withoutNUL(s string) string { return strings.ReplaceAll(s, "\x00", "") }

// number returns the finite number under a key, or in the string there.
func (o Object) number(key string) (n float64, ok bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(o.Scalar(key)), 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// Seconds returns the duration under a key, to the millisecond. It is zero if
// the value is negative or longer than a day.
func (o Object) Seconds(key string) time.Duration {
	n, ok := o.number(key)
	if !ok || n <= 0 || n > (24*time.Hour).Seconds() {
		return 0
	}
	return time.Duration(math.Round(n*1000)) * time.Millisecond
}

// percent returns the percentage under a key, such as 45, 45.5, "45" or "45%",
// rounded down and limited to 0..100; nil if there is none.
func (o Object) percent(key string) *int {
	text := strings.TrimSuffix(strings.TrimSpace(o.Scalar(key)), "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return nil
	}
	percent := int(max(0, min(100, n)))
	return &percent
}

// The limits of an event's type and ids, in bytes.
const (
	maxTypeBytes = 128
	maxIDBytes   = 256
)

// requiredName returns the string under a key that an event needs. path names the
// key in errors.
func (o Object) requiredName(key, path string, limit int) (string, error) {
	value := o.Value(key)
	if value == nil {
		return "", fmt.Errorf("%q is missing", path)
	}
	var name string
	if json.Unmarshal(value, &name) != nil {
		return "", fmt.Errorf("%q is %s, not a string", path, typeName(value))
	}
	return name, checkName(path, name, limit)
}

// requiredID is requiredName for an id, which may be a number: its digits are the
// id.
func (o Object) requiredID(key, path string) (string, error) {
	if value := o.Value(key); isNumber(value) {
		return string(value), checkName(path, string(value), maxIDBytes)
	}
	return o.requiredName(key, path, maxIDBytes)
}

// CheckJobID returns why a text cannot be a job's id.
func CheckJobID(id string) error { return checkName("job id", id, maxIDBytes) }

func checkName(path, name string, limit int) error {
	switch {
	case strings.TrimSpace(name) == "":
		return fmt.Errorf("%q is empty", path)
	case len(name) > limit:
		return fmt.Errorf("%q is longer than %d bytes", path, limit)
	case strings.ContainsRune(name, utf8.RuneError):
		// encoding/json replaces invalid bytes with this rune, so several names would
		// become one.
		return fmt.Errorf("%q is not UTF-8", path)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%q has a control character", path)
	}
	return nil
}

// typeName names the type of a JSON value, with its article.
func typeName(value []byte) string {
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

func isNumber(value json.RawMessage) bool {
	return len(value) > 0 && (value[0] == '-' || '0' <= value[0] && value[0] <= '9')
}
