package source_test

import (
	"testing"

	"github.com/klinghook/klinghook/internal/source"
)

func TestIsToken(t *testing.T) {
	tokens := []string{"first-token", "second-token"}
	tests := []struct {
		name, given string
		tokens      []string
		want        bool
	}{
		{"first", "first-token", tokens, true},
		{"second", "second-token", tokens, true},
		{"prefix", "first", tokens, false},
		{"longer", "first-token2", tokens, false},
		{"other case", "First-token", tokens, false},
		{"empty", "", tokens, false},
		{"no tokens", "", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := source.IsToken(tt.given, tt.tokens); got != tt.want {
				t.Errorf("IsToken(%q) = %t, want %t", tt.given, got, tt.want)
			}
		})
	}
}
