package dashboard

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/klinghook/klinghook/tasks"
)

// cut replaces a secret.
const cut = "…"

// Secrets in links are the user and password before the host, and everything after the
// start of the query or the fragment. In text that is not JSON, links may be escaped.
var (
	linkUser  = regexp.MustCompile(`((?:\\*/){2})[^\s/\\?#]+@`)
	linkQuery = regexp.MustCompile(`(?i)((?:\\*/){2}\S*?(?:[?#]|%3f|%23|\\+u003f))\S+`)
)

// format returns the payload or the result of a task for people: JSON within strings,
// such as the body of a delivery, is shown as JSON, and secrets are removed.
func format(kind string, payload []byte) string {
	value, ok := parse(string(payload))
	if !ok {
		return withoutLinkSecrets(string(payload))
	}
	if object, ok := value.(map[string]any); ok && kind == string(tasks.KindEventRecord) {
		// A body that is not UTF-8 is queued in base64, which would hide its links.
		if event, err := tasks.DecodeEvent(payload); err == nil {
			delete(object, "body_base64")
			object["body"] = string(event.Body)
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // keeps links readable
	if err := encoder.Encode(withoutSecrets(value)); err != nil {
		return withoutLinkSecrets(string(payload))
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// parse parses a JSON text.
func parse(text string) (value any, ok bool) {
	if !json.Valid([]byte(text)) {
		return nil, false
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber() // keeps numbers as they are written
	return value, decoder.Decode(&value) == nil
}

// withoutSecrets returns a JSON value without signatures and the secrets in links.
func withoutSecrets(value any) any {
	switch value := value.(type) {
	case map[string]any:
		object := make(map[string]any, len(value))
		for name, member := range value {
			if strings.Contains(strings.ToLower(name), "signature") {
				member = cut
			}
			object[withoutLinkSecrets(name)] = withoutSecrets(member)
		}
		return object
	case []any:
		for i, element := range value {
			value[i] = withoutSecrets(element)
		}
	case string:
		if inner := strings.TrimSpace(value); strings.HasPrefix(inner, "{") || strings.HasPrefix(inner, "[") {
			if parsed, ok := parse(inner); ok {
				return withoutSecrets(parsed)
			}
		}
		return withoutLinkSecrets(value)
	}
	return value
}

// withoutHeaderSecrets returns the headers of a delivery without values that may be secret.
func withoutHeaderSecrets(headers map[string]string) map[string]string {
	shown := make(map[string]string, len(headers))
	for name, value := range headers {
		value = withoutLinkSecrets(value)
		if secretHeader.MatchString(name) && !lengthOnly.MatchString(value) {
			value = cut
		}
		shown[name] = value
	}
	return shown
}

// withoutSignatures removes signatures from JSON that may be truncated and thus invalid.
func withoutSignatures(body []byte) []byte {
	return signatureMember.ReplaceAll(body, []byte("${1}"+cut))
}

var (
	secretHeader = regexp.MustCompile(`(?i)signature|authorization|cookie|token|secret|key`)
	// lengthOnly matches what ingest keeps of a secret.
	lengthOnly      = regexp.MustCompile(`^\([0-9]{1,11} bytes\)$`)
	signatureMember = regexp.MustCompile(`(?i)("[^"]*signature[^"]*"\s*:\s*")[^"]*`)
)

func withoutLinkSecrets(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return linkQuery.ReplaceAllString(linkUser.ReplaceAllString(text, "${1}"+cut+"@"), "${1}"+cut)
}
