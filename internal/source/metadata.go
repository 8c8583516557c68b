package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klinghook/klinghook/tasks"
)

// The limits of a job's metadata. Sizes are in bytes.
const (
	// MaxMetadataBody is the limit of the whole JSON.
	MaxMetadataBody = 64 << 10

	maxPrompt      = 16 << 10
	maxTags        = 50
	maxTagBytes    = 128
	maxUnitBytes   = 16
	maxCustomBytes = 16 << 10
	maxCustomDepth = 16
)

var metadataFields = []string{"platform", "api", "source", "prompt", "model", "external_id", "tags", "expected_cost", "metadata"}

// ParseMetadata reads the JSON in which a program describes a job that it submitted; it may
// be empty. A field that is missing or null changes nothing. Errors name the field and say
// what to send.
func ParseMetadata(raw []byte) (platform string, m tasks.Metadata, err error) {
	platform = tasks.PlatformKling
	if len(bytes.TrimSpace(raw)) == 0 {
		return platform, m, nil
	}
	if !utf8.Valid(raw) {
		return "", m, errors.New("body is not UTF-8")
	}
	body, err := parseBody(raw)
	if err != nil {
		return "", m, fmt.Errorf(`%w; send an object such as {"prompt": "a cat", "tags": ["blue"]}, or nothing`, err)
	}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		if !slices.Contains(metadataFields, key) {
			return "", m, fmt.Errorf("unknown field %q; the fields are %s", key, strings.Join(metadataFields, ", "))
		}
	}
	r := metadataReader{body: body}
	given, api := r.name("platform", maxTypeBytes), r.name("api", maxTypeBytes)
	m = tasks.Metadata{
		Source: r.name("source", maxTypeBytes), Prompt: r.prompt(), Model: r.name("model", maxTypeBytes), ExternalID: r.name("external_id", maxIDBytes),
		Tags: r.tags(), ExpectedCost: r.cost(), Custom: r.custom(),
	}
	if given != nil && *given != platform {
		r.fail("%q is %q; send %q or nothing", "platform", *given, platform)
	}
	if r.err != nil {
		return "", tasks.Metadata{}, r.err
	}
	if api != nil {
		m.API = *api
	}
	return platform, m, nil
}

// metadataReader reads fields and keeps the first error.
type metadataReader struct {
	body Object
	err  error
}

func (r *metadataReader) fail(format string, args ...any) {
	r.check(fmt.Errorf(format, args...))
}

func (r *metadataReader) check(err error) {
	if r.err == nil {
		r.err = err
	}
}

// text returns the string under a key; nil if there is none.
func (r *metadataReader) text(key string) *string {
	value := r.body.Value(key)
	if value == nil {
		return nil
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		r.fail("%q is %s; send a string", key, typeName(value))
	}
	return &text
}

// name returns a short name, which may be empty.
func (r *metadataReader) name(key string, limit int) *string {
	text := r.text(key)
	if text != nil && *text != "" {
		r.check(checkName(key, *text, limit))
	}
	return text
}

func (r *metadataReader) prompt() *string {
	text := r.text("prompt")
	switch {
	case text == nil:
	case len(*text) > maxPrompt:
		r.fail("%q has %d bytes; send at most %d", "prompt", len(*text), maxPrompt)
	case strings.Contains(*text, "\x00"):
		r.fail("%q has a NUL character; remove it", "prompt")
	}
	return text
}

func (r *metadataReader) tags() []string {
	value := r.body.Value("tags")
	if value == nil {
		return nil
	}
	tags := []string{}
	if json.Unmarshal(value, &tags) != nil {
		r.fail(`%q must be a list of strings, such as ["blue", "test"]`, "tags")
	}
	if len(tags) > maxTags {
		r.fail("%q has %d tags; send at most %d", "tags", len(tags), maxTags)
	}
	for i, tag := range tags {
		r.check(checkName(fmt.Sprintf("tags[%d]", i), tag, maxTagBytes))
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// cost returns the cost under expected_cost: "0.35 USD", or an object with amount and unit.
// An amount is never read as a float, which would round it.
func (r *metadataReader) cost() *tasks.Cost {
	const send = `send a decimal number and a unit, such as "0.35 USD" or {"amount": "0.35", "unit": "USD"}`
	value := r.body.Value("expected_cost")
	if value == nil {
		return nil
	}
	var amount, unit string
	switch value[0] {
	case '{':
		cost := ParseObject(value)
		amount, unit = cost.Scalar("amount"), cost.Scalar("unit")
	case '"':
		amount, unit, _ = strings.Cut(r.body.Scalar("expected_cost"), " ")
	default:
		r.fail("%q is %s; "+send, "expected_cost", typeName(value))
	}
	if amount == "" && unit == "" {
		return new(tasks.Cost)
	}
	normal, ok := tasks.Decimal(amount)
	if !ok || strings.HasPrefix(normal, "-") {
		r.fail("%q has the amount %.40q; "+send, "expected_cost", amount)
	}
	if err := checkName("expected_cost.unit", unit, maxUnitBytes); err != nil {
		r.fail("%w; "+send, err)
	}
	return &tasks.Cost{Amount: normal, Unit: unit}
}

// custom returns the object under metadata without white space.
func (r *metadataReader) custom() json.RawMessage {
	value := r.body.Value("metadata")
	if value == nil {
		return nil
	}
	if value[0] != '{' {
		r.fail("%q is %s; send an object", "metadata", typeName(value))
		return nil
	}
	var compact bytes.Buffer
	r.check(json.Compact(&compact, value))
	if compact.Len() > maxCustomBytes {
		r.fail("%q has %d bytes; send at most %d", "metadata", compact.Len(), maxCustomBytes)
	}
	if depth := depthOf(compact.Bytes()); depth > maxCustomDepth {
		r.fail("%q is nested %d levels deep; send at most %d", "metadata", depth, maxCustomDepth)
	}
	return compact.Bytes()
}

// depthOf returns how deep valid JSON is nested.
func depthOf(value []byte) (deepest int) {
	decoder := json.NewDecoder(bytes.NewReader(value))
	for depth := 0; ; {
		token, err := decoder.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}
