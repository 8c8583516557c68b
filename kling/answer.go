package kling

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// answer is what Kling said: the envelope, where there is one, and the fields of
// its data or, without an envelope, of the body itself.
type answer struct {
	code               int
	message, requestID string
	fields             map[string]json.RawMessage
}

// parseAnswer reads both shapes: the seed protocol's bare object, and the
// documented {code, message, request_id, data}, whose data is an object or a list
// of one. What is missing or of another kind is left empty.
func parseAnswer(body []byte) (answer, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return answer{}, err
	}
	if fields == nil {
		return answer{}, errors.New("not an object")
	}
	a := answer{message: text(fields["message"]), requestID: text(fields["request_id"]), fields: fields}
	a.code, _ = strconv.Atoi(text(fields["code"]))
	if a.message == "" {
		a.message = text(fields["error"])
	}
	data, enveloped := fields["data"]
	if !enveloped {
		return a, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(data, &list) == nil && len(list) > 0 {
		data = list[0]
	}
	a.fields = nil
	_ = json.Unmarshal(data, &a.fields) // errors have null or text here
	return a, nil
}

// text returns a JSON string's content or a number's digits; "" for all else.
func text(raw json.RawMessage) string {
	decoder := json.NewDecoder(bytes.NewReader(raw))
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
