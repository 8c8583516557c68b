package source_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestParseMetadata(t *testing.T) {
	text := func(s string) *string { return &s }
	cost := &tasks.Cost{Amount: "0.35", Unit: "USD"}
	nested := strings.Repeat(`{"a":`, 15) + `[]` + strings.Repeat(`}`, 15)
	tests := []struct {
		name, body string
		want       tasks.Metadata
	}{
		{"nothing", " \n", tasks.Metadata{}},
		{"empty object", "{}", tasks.Metadata{}},
		{"null changes nothing", `{"prompt":null,"tags":null,"metadata":null,"expected_cost":null,"api":null,"platform":null}`, tasks.Metadata{}},
		{"every field", `{"platform":"kling","api":"text2video","source":"klingai","prompt":"a\ncat","model":"v1","external_id":"7","tags":["b","a","b"],"expected_cost":"0.350 USD","metadata":{ "n": 1e400 }}`,
			tasks.Metadata{
				API: "text2video", Source: text("klingai"), Prompt: text("a\ncat"), Model: text("v1"), ExternalID: text("7"),
				Tags: []string{"a", "b"}, ExpectedCost: cost, Custom: json.RawMessage(`{"n":1e400}`),
			}},
		{"empty removes", `{"prompt":"","tags":[],"metadata":{},"expected_cost":""}`, tasks.Metadata{Prompt: text(""), Tags: []string{}, ExpectedCost: &tasks.Cost{}, Custom: json.RawMessage(`{}`)}},
		{"empty cost object removes", `{"expected_cost":{}}`, tasks.Metadata{ExpectedCost: &tasks.Cost{}}},
		{"cost as an object", `{"expected_cost":{"amount":"0.35","unit":"USD"}}`, tasks.Metadata{ExpectedCost: cost}},
		{"cost with a number", `{"expected_cost":{"amount":0.35,"unit":"USD"}}`, tasks.Metadata{ExpectedCost: cost}},
		{"cost that a float would round", `{"expected_cost":"123456789012345678.123456789012345678 unit"}`, tasks.Metadata{ExpectedCost: &tasks.Cost{Amount: "123456789012345678.123456789012345678", Unit: "unit"}}},
		{"deepest", `{"metadata":` + nested + `}`, tasks.Metadata{Custom: json.RawMessage(nested)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			platform, got, err := source.ParseMetadata([]byte(tt.body))
			testenv.NoError(t, err)
			if diff := cmp.Diff(tt.want, got); diff != "" || platform != tasks.PlatformKling {
				t.Errorf("platform %q (-want +got):\n%s", platform, diff)
			}
		})
	}
}

func TestParseMetadataNamesTheWrongField(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	tests := []struct{ name, body, want string }{
		{"no JSON", `prompt`, `send an object such as {"prompt": "a cat", "tags": ["blue"]}, or nothing`},
		{"two values", `{} {}`, `body is not JSON`},
		{"list", `[]`, `body is an array, not an object; send`},
		{"not UTF-8", "{\"prompt\":\"\xff\"}", `body is not UTF-8`},
		{"unknown field", `{"promt":"a"}`, `unknown field "promt"; the fields are platform, api, `},
		{"another case", `{"Prompt":"a"}`, `unknown field "Prompt"`},
		{"unknown platform", `{"platform":"fal"}`, `"platform" is "fal"; send "kling" or nothing`},
		{"number for a prompt", `{"prompt":7}`, `"prompt" is a number; send a string`},
		{"long prompt", `{"prompt":"` + long(16385) + `"}`, `"prompt" has 16385 bytes; send at most 16384`},
		{"NUL in the prompt", `{"prompt":"\u0000"}`, `"prompt" has a NUL character; remove it`},
		{"long model", `{"model":"` + long(129) + `"}`, `"model" is longer than 128 bytes`},
		{"control character", `{"external_id":"a\u0007"}`, `"external_id" has a control character`},
		{"blank source", `{"source":" "}`, `"source" is empty`},
		{"string for tags", `{"tags":"blue"}`, `"tags" must be a list of strings, such as ["blue", "test"]`},
		{"number in tags", `{"tags":[1]}`, `"tags" must be a list of strings`},
		{"null in tags", `{"tags":["a",null]}`, `"tags[1]" is empty`},
		{"many tags", `{"tags":["` + strings.Repeat(`a","`, 50) + `a"]}`, `"tags" has 51 tags; send at most 50`},
		{"cost without a unit", `{"expected_cost":"0.35"}`, `"expected_cost.unit" is empty; send a decimal number and a unit`},
		{"cost that is a number", `{"expected_cost":0.35}`, `"expected_cost" is a number; send a decimal number and a unit`},
		{"cost without an amount", `{"expected_cost":{"unit":"USD"}}`, `"expected_cost" has the amount ""; send a decimal number and a unit, such as "0.35 USD"`},
		{"negative cost", `{"expected_cost":"-1 USD"}`, `"expected_cost" has the amount "-1"`},
		{"cost in words", `{"expected_cost":"NaN USD"}`, `"expected_cost" has the amount "NaN"`},
		{"list for metadata", `{"metadata":[]}`, `"metadata" is an array; send an object`},
		{"large metadata", `{"metadata":{"a":"` + long(16384) + `"}}`, `"metadata" has 16392 bytes; send at most 16384`},
		{"deep metadata", `{"metadata":` + strings.Repeat(`{"a":`, 16) + `[]` + strings.Repeat(`}`, 16) + `}`, `"metadata" is nested 17 levels deep; send at most 16`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, m, err := source.ParseMetadata([]byte(tt.body))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if diff := cmp.Diff(tasks.Metadata{}, m); diff != "" {
				t.Errorf("metadata came with the error:\n%s", diff)
			}
		})
	}
}

// FuzzParseMetadata checks that accepted values can be stored.
func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`{"prompt":"a","tags":["x"],"expected_cost":"1e2 USD","metadata":{"a":["\u0000\ud800",1e999]}}`))
	f.Add([]byte(`{"metadata":{"a":1,"a":2},"expected_cost":{"amount":.5}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, m, err := source.ParseMetadata(body)
		if err != nil {
			return
		}
		for _, text := range []*string{m.Source, m.Prompt, m.Model, m.ExternalID} {
			if text != nil {
				wantStorable(t, *text)
			}
		}
		wantStorable(t, m.Tags...)
		if m.Custom != nil && (!json.Valid(m.Custom) || len(m.Custom) > 16<<10) {
			t.Errorf("metadata %q", m.Custom)
		}
	})
}
