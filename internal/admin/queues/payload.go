package queues

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/klinghook/klinghook/tasks"
)

// cut stands where something was cut off.
const cut = "…"

// formatter shows payloads and results to people.
type formatter struct {
	user, query *regexp.Regexp
}

// newFormatter compiles what is cut from links: user and password before the
// host, and everything from the query or the fragment on. In text that is not
// JSON a link may stand as JSON escapes it.
func newFormatter() *formatter {
	return &formatter{
		user:  regexp.MustCompile(`((?:\\*/){2})[^\s/\\?#]+@`),
		query: regexp.MustCompile(`(?i)((?:\\*/){2}\S*?(?:[?#]|%3f|%23|\\+u003f))\S+`),
	}
}

// format returns the payload of a task of this kind, or a task's result, as it is
// shown: strings that hold JSON themselves, such as the body of a delivery, are
// unfolded, and what could be used by whoever reads it is cut off.
func (f *formatter) format(kind string, payload []byte) string {
	if kind == string(tasks.KindEventRecord) {
		payload = withReadableBody(payload)
	}
	var out bytes.Buffer
	if err := f.unfold(&out, payload); err != nil {
		return f.cutLinks(string(payload))
	}
	return out.String()
}

// withReadableBody returns the payload with its body as the text that it nearly
// is: one that is not UTF-8 is queued in base64, which would hide its links from
// people and from us.
func withReadableBody(payload []byte) []byte {
	ev, err := tasks.DecodeEvent(payload)
	if err != nil || utf8.Valid(ev.Body) {
		return payload
	}
	ev.Body = bytes.ToValidUTF8(ev.Body, []byte("\uFFFD"))
	task, err := tasks.RecordEvent(ev)
	if err != nil {
		return payload
	}
	return task.Payload
}

// unfold writes a JSON text as it is shown, in its own order. When it fails it
// has written nothing.
func (f *formatter) unfold(out *bytes.Buffer, text []byte) error {
	if !json.Valid(text) { // or nested so deeply that we should not go down there
		return errors.New("not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // Numbers stay as they are written.
	before := out.Len()
	if err := f.value(out, dec); err != nil {
		out.Truncate(before)
		return err
	}
	return nil
}

// value copies the next value.
func (f *formatter) value(out *bytes.Buffer, dec *json.Decoder) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case json.Delim:
		return f.members(out, dec, token)
	case string:
		inner := strings.TrimSpace(token)
		if strings.HasPrefix(inner, "{") || strings.HasPrefix(inner, "[") {
			if f.unfold(out, []byte(inner)) == nil {
				return nil
			}
		}
		return write(out, f.cutLinks(token))
	default:
		return write(out, token)
	}
}

// members copies an object or an array, from after its first character on.
func (f *formatter) members(out *bytes.Buffer, dec *json.Decoder, open json.Delim) error {
	out.WriteString(open.String())
	for separator := ""; dec.More(); separator = "," {
		out.WriteString(separator)
		signature := false
		if open == '{' {
			token, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := token.(string) // which the name of a member always is
			if err := write(out, f.cutLinks(name)); err != nil {
				return err
			}
			out.WriteByte(':')
			signature = strings.Contains(strings.ToLower(name), "signature")
		}
		if err := f.member(out, dec, signature); err != nil {
			return err
		}
	}
	end, err := dec.Token()
	if err != nil {
		return err
	}
	return write(out, end)
}

// member copies the next value, unless it is a signature.
func (f *formatter) member(out *bytes.Buffer, dec *json.Decoder, signature bool) error {
	if !signature {
		return f.value(out, dec)
	}
	if err := dec.Decode(new(json.RawMessage)); err != nil {
		return err
	}
	return write(out, cut)
}

// write writes a JSON token.
func write(out *bytes.Buffer, token json.Token) error {
	if delim, ok := token.(json.Delim); ok {
		out.WriteString(delim.String())
		return nil
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false) // Links stay readable.
	if err := enc.Encode(token); err != nil {
		return err
	}
	out.Truncate(out.Len() - len("\n"))
	return nil
}

func (f *formatter) cutLinks(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = f.user.ReplaceAllString(text, "${1}"+cut+"@")
	return f.query.ReplaceAllString(text, "${1}"+cut)
}
