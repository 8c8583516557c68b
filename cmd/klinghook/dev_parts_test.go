package main

import "testing"

func TestReachable(t *testing.T) {
	for addr, want := range map[string]string{
		":5000":          "localhost:5000",
		"0.0.0.0:5000":   "localhost:5000",
		"[::]:5000":      "localhost:5000",
		"127.0.0.1:5000": "127.0.0.1:5000",
		"10.1.2.3:5000":  "10.1.2.3:5000",
		"[::1]:5000":     "[::1]:5000",
		"localhost:5000": "localhost:5000",
		"proxy:5000":     "proxy:5000",
		"odd":            "odd",
	} {
		if got := reachable(addr); got != want {
			t.Errorf("reachable(%q) = %q, want %q", addr, got, want)
		}
	}
}
