package tasks

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// appendEvent appends an event as JSON, as encoding/json would write an [eventWire],
// which is what reads it. It is written out because every delivery passes through
// here: by reflection it takes four times as long.
func appendEvent(dst []byte, ev Event) ([]byte, error) {
	dst = appendString(append(dst, `{"id":`...), ev.ID)
	dst = appendString(append(dst, `,"source":`...), ev.Source)
	dst = appendString(append(dst, `,"type":`...), ev.Type)
	if ev.JobID != "" {
		dst = appendString(append(dst, `,"job_id":`...), ev.JobID)
	}
	dst = append(dst, `,"received_at":"`...)
	dst, err := ev.ReceivedAt.UTC().AppendText(dst)
	if err != nil {
		return nil, fmt.Errorf("encode time of receipt: %w", err)
	}
	dst = append(dst, '"')
	if ev.Secret != "" {
		dst = appendString(append(dst, `,"secret":`...), ev.Secret)
	}
	if len(ev.Headers) > 0 {
		dst = append(dst, `,"headers":{`...)
		for i, name := range slices.Sorted(maps.Keys(ev.Headers)) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, name), ':')
			dst = appendString(dst, ev.Headers[name])
		}
		dst = append(dst, '}')
	}
	switch {
	case len(ev.Body) == 0:
	case utf8.Valid(ev.Body):
		dst = appendQuoted(append(dst, `,"body":`...), ev.Body)
	default:
		dst = base64.StdEncoding.AppendEncode(append(dst, `,"body_base64":"`...), ev.Body)
		dst = append(dst, '"')
	}
	return append(dst, '}'), nil
}

// appendString appends a JSON string of s, in which each byte that is not UTF-8
// becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return appendQuoted(dst, s)
}

// appendQuoted appends a JSON string of text that is UTF-8.
func appendQuoted[T string | []byte](dst []byte, text T) []byte {
	const (
		hexDigits = "0123456789abcdef"
		// It and U+2029 beside it are no characters of a JavaScript string.
		lineSeparator = "\u2028"
	)
	dst = append(dst, '"')
	start := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' && c != lineSeparator[0] {
			continue
		}
		if c == lineSeparator[0] && (i+2 >= len(text) || text[i+1] != lineSeparator[1] || text[i+2]&^1 != lineSeparator[2]) {
			continue
		}
		dst = append(dst, text[start:i]...)
		start = i + 1
		switch c {
		case lineSeparator[0]:
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[text[i+2]&0xf])
			start = i + 3
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
	}
	return append(append(dst, text[start:]...), '"')
}
