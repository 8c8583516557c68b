package main

import (
	"strings"
	"testing"
)

func TestReadableBody(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	tests := []struct{ name, body, want string }{
		{"object", `{"a":[1,{}]}`, "{\n  \"a\": [\n    1,\n    {}\n  ]\n}"},
		{"not JSON", "a=1", "a=1"},
		{"nothing", "", ""},
		{"as deep as JSON may be", nested(9000), nested(9000)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(readableBody([]byte(tt.body))); got != tt.want {
				t.Errorf("%d bytes %.80q, want %d bytes %.80q", len(got), got, len(tt.want), tt.want)
			}
		})
	}
}
