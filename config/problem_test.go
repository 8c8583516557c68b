package config

import "testing"

func TestError(t *testing.T) {
	tests := []struct {
		name, want string
		problems   []string
	}{
		{"one", "configuration: 1 problem\n  - a", []string{"a"}},
		{"several", "configuration: 3 problems\n  - a\n  - b\n  - c", []string{"a", "b", "c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (&Error{tt.problems}).Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "abd", 1},
		{"abc", "ac", 1},
		{"kitten", "sitting", 3},
		{"url", "ulr", 2},
	}
	for _, tt := range tests {
		t.Run(tt.a+" "+tt.b, func(t *testing.T) {
			if got := distance(tt.a, tt.b); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	if got := nearest("warning", []string{"debug", "info", "warn", "error"}); got != "warn" {
		t.Errorf("got %q", got)
	}
	// The first of equals, so that messages do not change from run to run.
	if got := nearest("x", []string{"b", "a"}); got != "b" {
		t.Errorf("got %q", got)
	}
}
