package source

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/klinghook/klinghook/tasks"
)

// The limits of what identifies an event, in bytes.
const (
	maxTypeBytes = 128
	maxIDBytes   = 256
)

// statusOf returns what an event type means for its job; ok is false for types
// that mean nothing.
func statusOf(eventType string) (status tasks.Status, ok bool) {
	switch eventType {
	case tasks.TypeCreated:
		return tasks.StatusCreated, true
	case tasks.TypeProcessing:
		return tasks.StatusProcessing, true
	case tasks.TypeCompleted:
		return tasks.StatusCompleted, true
	case tasks.TypeFailed:
		return tasks.StatusFailed, true
	case tasks.TypeCancelled:
		return tasks.StatusCancelled, true
	}
	return "", false
}

// object returns the object under a key; nil when there is none.
func (o object) object(key string) object {
	return parseObject(o.field(key))
}

// objects returns the objects of the array under a key. A single object counts
// as an array of one: Kling's bodies have drifted between the two.
func (o object) objects(key string) []object {
	raw := o.field(key)
	if single := parseObject(raw); single != nil {
		return []object{single}
	}
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil {
		return nil
	}
	var objects []object
	for _, element := range elements {
		if o := parseObject(element); o != nil {
			objects = append(objects, o)
		}
	}
	return objects
}

// scalar returns the content of the string under a key, or the number as it is
// written; empty when there is neither.
func (o object) scalar(key string) string {
	raw := o.field(key)
	switch {
	case isNumber(raw):
		return string(raw)
	case isString(raw):
		return parseString(raw)
	}
	return ""
}

// text returns the string under a key, fit to be kept; empty when there is none.
func (o object) text(key string) string {
	raw := o.field(key)
	if !isString(raw) {
		return ""
	}
	return withoutNUL(parseString(raw))
}

// time returns the time under a key: RFC 3339, or seconds or milliseconds since
// 1970 as a number or a string of one. It is zero when there is none from 1970
// to 9999.
func (o object) time(key string) time.Time {
	s := strings.TrimSpace(o.scalar(key))
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t = parseEpoch(s)
	}
	t = t.UTC()
	if t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// seconds returns the length of time under a key, a number of seconds or a
// string of one, to the millisecond; zero when there is none that a video
// could have.
func (o object) seconds(key string) time.Duration {
	const longest = 24 * time.Hour
	s, ok := parseNumber(o.scalar(key))
	if !ok || s <= 0 || s > longest.Seconds() {
		return 0
	}
	return time.Duration(math.Round(s*1000)) * time.Millisecond
}

// percent returns the percentage under a key, 45, 45.5, "45" or "45%", rounded
// down and held within 0 to 100; nil when there is none.
func (o object) percent(key string) *int {
	p, ok := parseNumber(strings.TrimSuffix(strings.TrimSpace(o.scalar(key)), "%"))
	if !ok {
		return nil
	}
	percent := int(max(0, min(100, p)))
	return &percent
}

// requiredObject returns the object under a key that an event cannot do without.
func (o object) requiredObject(key string) (object, error) {
	raw := o.field(key)
	if raw == nil {
		return nil, fmt.Errorf("%q is missing", key)
	}
	value := parseObject(raw)
	if value == nil {
		return nil, fmt.Errorf("%q is %s, not an object", key, typeName(raw))
	}
	return value, nil
}

// requiredName returns the string under a key that an event cannot do without.
// path is the key as seen from the body, for the error.
func (o object) requiredName(key, path string, limit int) (string, error) {
	return nameIn(o.field(key), path, limit)
}

// nameIn is requiredName for the value.
func nameIn(raw json.RawMessage, path string, limit int) (string, error) {
	if raw == nil {
		return "", fmt.Errorf("%q is missing", path)
	}
	if !isString(raw) {
		return "", fmt.Errorf("%q is %s, not a string", path, typeName(raw))
	}
	name := parseString(raw)
	return name, checkToken(path, name, limit)
}

// requiredID is requiredName for an id, which may be a number too: its digits
// are then the id, as they stand.
func (o object) requiredID(key, path string) (string, error) {
	raw := o.field(key)
	if isNumber(raw) {
		return string(raw), checkToken(path, string(raw), maxIDBytes)
	}
	return nameIn(raw, path, maxIDBytes)
}

// CheckJobID returns why no event could name a job by this id.
func CheckJobID(id string) error { return checkToken("job id", id, maxIDBytes) }

// checkToken says what keeps a string from naming an event, a job or a type.
func checkToken(path, token string, limit int) error {
	switch {
	case strings.TrimSpace(token) == "":
		return fmt.Errorf("%q is empty", path)
	case len(token) > limit:
		return fmt.Errorf("%q is longer than %d bytes", path, limit)
	case strings.ContainsRune(token, utf8.RuneError):
		// Reading JSON puts this rune in the place of whatever is not UTF-8, which
		// would make one name of several.
		return fmt.Errorf("%q is not UTF-8", path)
	case strings.ContainsFunc(token, unicode.IsControl):
		return fmt.Errorf("%q has a control character", path)
	}
	return nil
}

// withoutNUL drops the one character that PostgreSQL cannot keep in a text.
func withoutNUL(s string) string {
	return strings.ReplaceAll(s, "\x00", "")
}

// parseNumber reads a finite number.
func parseNumber(s string) (n float64, ok bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// parseEpoch reads a number of seconds or milliseconds since 1970. A number
// that would be a year past 5000 in seconds is one of milliseconds, which it
// cannot be mistaken for since 1973. Zero is what programs send for no time.
func parseEpoch(s string) time.Time {
	const (
		leastMillis = 1e11
		mostMillis  = 1e15 // past the year 9999
	)
	n, ok := parseNumber(s)
	if !ok || n <= 0 || n > mostMillis {
		return time.Time{}
	}
	if n < leastMillis {
		n *= 1000
	}
	return time.UnixMilli(int64(math.Round(n)))
}
