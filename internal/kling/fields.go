package kling

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// fields are the values of a JSON object, each as it was written. Keys count
// exactly as they are spelt, which they would not in a struct, and a null is the
// same as no value.
type fields map[string]json.RawMessage

// parseFields returns the fields of an object; nil for what is none.
func parseFields(raw []byte) fields {
	var f fields
	if json.Unmarshal(raw, &f) != nil {
		return nil
	}
	return f
}

// get returns the value of a key; nil when there is none.
func (f fields) get(key string) json.RawMessage {
	if raw := f[key]; string(raw) != "null" {
		return raw
	}
	return nil
}

func (f fields) object(key string) fields { return parseFields(f.get(key)) }

// objects returns the objects under a key, those of a list or a single one.
func (f fields) objects(key string) []fields {
	var list []fields
	for _, raw := range elements(f.get(key)) {
		if object := parseFields(raw); object != nil {
			list = append(list, object)
		}
	}
	return list
}

// text returns the string under a key; empty when there is none.
func (f fields) text(key string) string {
	raw := f.get(key)
	if len(raw) == 0 || raw[0] != '"' {
		return ""
	}
	return f.scalar(key)
}

// scalar returns the content of the string under a key, or the number as it is
// written; empty when there is neither.
func (f fields) scalar(key string) string {
	decoder := json.NewDecoder(bytes.NewReader(f.get(key)))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return ""
	}
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return ""
	}
}

// number returns the finite number under a key, or in the string there.
func (f fields) number(key string) (n float64, ok bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(f.scalar(key)), 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// time returns the time under a key, in UTC: milliseconds or seconds since 1970,
// as a number or a string of one, or RFC 3339. It is zero when there is none from
// 1970 to 9999. What would be a year past 5000 in seconds is in milliseconds.
func (f fields) time(key string) time.Time {
	const leastMillis, mostMillis = 1e11, 1e15
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(f.scalar(key)))
	if err != nil {
		n, ok := f.number(key)
		if !ok || n <= 0 || n > mostMillis {
			return time.Time{}
		}
		if n < leastMillis {
			n *= 1000
		}
		t = time.UnixMilli(int64(math.Round(n)))
	}
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// seconds returns the length of time under a key, a number of seconds or a string
// of one, to the millisecond; zero when there is none that a video could have.
func (f fields) seconds(key string) time.Duration {
	const longest = 24 * time.Hour
	n, ok := f.number(key)
	if !ok || n <= 0 || n > longest.Seconds() {
		return 0
	}
	return time.Duration(math.Round(n*1000)) * time.Millisecond
}
