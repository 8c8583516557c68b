package tasks

import (
	"strings"
	"unicode/utf8"

	"github.com/klinghook/klinghook/internal/jsontext"
)

// parseEvent reads an event as appendEvent writes it. ok is false where there is
// anything that it does not write, and encoding/json must decide: every event passes
// through here, and by reflection it takes many times as long.
func parseEvent(payload []byte) (wire eventWire, ok bool) {
	p := parser{rest: payload}
	if !utf8.Valid(payload) || !p.take('{') {
		return wire, false
	}
	for first := true; !p.take('}'); first = false {
		if !first && !p.take(',') {
			return wire, false
		}
		name, ok := p.name()
		if !ok || !p.field(&wire, name) {
			return wire, false
		}
	}
	return wire, len(p.rest) == 0
}

// parser takes from the front of what is left of a JSON text without spaces.
type parser struct{ rest []byte }

func (p *parser) take(c byte) bool {
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// name takes a name and the colon after it.
func (p *parser) name() (string, bool) {
	name, ok := p.str()
	return name, ok && p.take(':')
}

// field takes the value of a field.
func (p *parser) field(wire *eventWire, name string) (ok bool) {
	switch name {
	case "id":
		wire.ID, ok = p.str()
	case "source":
		wire.Source, ok = p.str()
	case "type":
		wire.Type, ok = p.str()
	case "job_id":
		wire.JobID, ok = p.str()
	case "secret":
		wire.Secret, ok = p.str()
	case "body":
		wire.Body, ok = p.str()
	case "received_at":
		var text string
		if text, ok = p.str(); ok {
			ok = wire.ReceivedAt.UnmarshalText([]byte(text)) == nil
		}
	case "headers":
		if wire.Headers == nil { // a second time is not written
			wire.Headers, ok = p.headers()
		}
	}
	return ok
}

func (p *parser) headers() (map[string]string, bool) {
	if !p.take('{') {
		return nil, false
	}
	headers := make(map[string]string)
	for !p.take('}') {
		if len(headers) > 0 && !p.take(',') {
			return nil, false
		}
		name, ok := p.name()
		if !ok {
			return nil, false
		}
		if headers[name], ok = p.str(); !ok {
			return nil, false
		}
	}
	return headers, true
}

// str takes a string.
func (p *parser) str() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	var b strings.Builder
	for {
		end := jsontext.Plain(p.rest, 0)
		if end == len(p.rest) {
			return "", false
		}
		c := p.rest[end]
		if c == '\\' && b.Cap() == 0 {
			b.Grow(len(p.rest))
		}
		b.Write(p.rest[:end])
		p.rest = p.rest[end+1:]
		switch {
		case c == '"':
			return b.String(), true
		case c != '\\' || !p.escape(&b):
			return "", false
		}
	}
}

// escape takes what follows a backslash.
func (p *parser) escape(b *strings.Builder) bool {
	if len(p.rest) == 0 {
		return false
	}
	const short, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if i := strings.IndexByte(short, p.rest[0]); i >= 0 {
		b.WriteByte(meant[i])
		p.rest = p.rest[1:]
		return true
	}
	// Half of a pair of surrogates is not written, and not understood.
	r, ok := p.unicode()
	if !ok || r >= 0xd800 && r < 0xe000 {
		return false
	}
	b.WriteRune(r)
	return true
}

// unicode takes "u" and four hex digits.
func (p *parser) unicode() (r rune, ok bool) {
	const size = 5
	if len(p.rest) < size || p.rest[0] != 'u' {
		return 0, false
	}
	for _, c := range p.rest[1:size] {
		d := strings.IndexByte("0123456789abcdef", c)
		if d < 0 {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	p.rest = p.rest[size:]
	return r, true
}
