package kling

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// answer is what Kling said: the envelope, where there is one, and what it holds.
type answer struct {
	code               int
	message, requestID string
	// data holds the job or jobs, or the registration: the envelope's data, or the
	// whole body of an answer without one. A nil data says nothing.
	data json.RawMessage
}

// parseAnswer reads both shapes: the seed protocol's bare object, and the
// documented {code, message, request_id, data}. What is missing or of another
// kind is left empty.
func parseAnswer(body []byte) (answer, error) {
	body = bytes.TrimSpace(body)
	envelope := parseFields(body)
	if envelope == nil {
		return answer{}, errors.New("not an object")
	}
	a := answer{message: envelope.scalar("message"), requestID: envelope.scalar("request_id"), data: body}
	a.code, _ = strconv.Atoi(envelope.scalar("code"))
	if a.message == "" {
		a.message = envelope.scalar("error")
	}
	if a.message == "" { // as relays have it
		a.message = envelope.object("error").scalar("message")
	}
	if _, enveloped := envelope["data"]; enveloped {
		a.data = envelope.get("data")
	}
	return a, nil
}

// object returns the fields of the data, or of the first of a list of them; none
// where there is no such object.
func (a answer) object() fields {
	if list := elements(a.data); len(list) > 0 {
		return parseFields(list[0])
	}
	return nil
}

// jobs reads the jobs of an answer: one, a list, or a page of the new API's list.
// With an error, which is ErrUnreadable, come those that could be read.
func (a answer) jobs(kind Kind) ([]Job, error) {
	data := a.data
	if page := parseFields(data); page != nil && page.get("id") == nil && page.get("task_id") == nil {
		if _, isPage := page["result"]; isPage {
			data = page.get("result")
		}
	}
	if len(data) > 0 && data[0] != '{' && data[0] != '[' {
		return nil, fmt.Errorf("%w: it has no jobs; check that this is Kling's API", ErrUnreadable)
	}
	var jobs []Job
	var complaints []error
	for i, raw := range elements(data) {
		job, err := parseJob(raw)
		if err != nil {
			complaints = append(complaints, fmt.Errorf("%w: job %d of it has %w", ErrUnreadable, i+1, err))
			continue
		}
		job.Kind = kind
		jobs = append(jobs, job)
	}
	return jobs, errors.Join(complaints...)
}

// elements returns the values of a list. A single object counts as a list of one:
// Kling's answers have drifted between the two. All else is no list.
func elements(raw json.RawMessage) []json.RawMessage {
	if len(raw) > 0 && raw[0] == '{' {
		return []json.RawMessage{raw}
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}
