package tasks

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klinghook/klinghook/internal/jsontext"
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
		var buffer [8]string
		names := slices.AppendSeq(buffer[:0], maps.Keys(ev.Headers))
		slices.Sort(names)
		for i, name := range names {
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
	if jsontext.Plain(s, 0) == len(s) && !strings.Contains(s, separatorPrefix) { // as nearly always
		return append(append(append(dst, '"'), s...), '"')
	}
	return appendQuoted(dst, []byte(s))
}

// appendQuoted appends a JSON string of text that is UTF-8.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for {
		at := lineSeparator(text)
		dst = appendEscaped(dst, text[:at])
		if at == len(text) {
			return append(dst, '"')
		}
		dst = append(dst, `\u202`...)
		dst = append(dst, '8'+text[at+2]&1)
		text = text[at+3:]
	}
}

// separatorPrefix is what U+2028 and U+2029 begin with in UTF-8.
const separatorPrefix = "\xe2\x80"

// lineSeparator returns the index of the first U+2028 or U+2029, which are no characters
// of a JavaScript string, or the length of the text.
func lineSeparator(text []byte) int {
	for from := 0; ; {
		i := bytes.Index(text[from:], []byte(separatorPrefix))
		if i < 0 {
			return len(text)
		}
		from += i
		if text[from+2]&^1 == 0xa8 {
			return from
		}
		from += len(separatorPrefix)
	}
}

// appendEscaped appends text with what a JSON string does not hold as it is escaped.
func appendEscaped(dst, text []byte) []byte {
	const hexDigits = "0123456789abcdef"
	for i := 0; ; i++ {
		end := jsontext.Plain(text, i)
		dst = append(dst, text[i:end]...)
		if i = end; i == len(text) {
			return dst
		}
		switch c := text[i]; c {
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
}
