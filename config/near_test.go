package config

import "testing"

func TestNear(t *testing.T) {
	known := []string{"addr", "count", "bucket-url", "url"}
	for _, tt := range []struct {
		word, want string
		ok         bool
	}{
		{"cuont", "count", true},
		{"adr", "addr", true},
		{"bukcet-urls", "bucket-url", true},
		{"colour", "", false},
		{"rul", "", false},
		{"", "", false},
	} {
		got, ok := Near(tt.word, known)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("Near(%q) = %q, %t; want %q, %t", tt.word, got, ok, tt.want, tt.ok)
		}
	}
	if got, ok := Near("x", nil); ok {
		t.Errorf("of nothing, %q is near", got)
	}
}
