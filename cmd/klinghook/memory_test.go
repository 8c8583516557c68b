package main

import (
	"math"
	"runtime/debug"
	"testing"
)

// TestBoundMemory holds that the settings of Go's own, which operators know, count.
func TestBoundMemory(t *testing.T) {
	tests := []struct {
		name        string
		env         map[string]string
		wantPercent int
		wantLimit   int64
	}{
		{"neither is set", nil, gcPercent, memoryLimit},
		{"GOGC is set", map[string]string{"GOGC": "77"}, 77, memoryLimit},
		{"GOMEMLIMIT is set", map[string]string{"GOMEMLIMIT": "1GiB"}, gcPercent, math.MaxInt64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			percent, limit := debug.SetGCPercent(77), debug.SetMemoryLimit(math.MaxInt64)
			defer debug.SetGCPercent(percent)
			defer debug.SetMemoryLimit(limit)
			boundMemory(func(name string) (string, bool) {
				value, ok := tt.env[name]
				return value, ok
			})
			if got := debug.SetGCPercent(100); got != tt.wantPercent {
				t.Errorf("garbage may grow by %d %%, want %d %%", got, tt.wantPercent)
			}
			if got := debug.SetMemoryLimit(-1); got != tt.wantLimit {
				t.Errorf("the limit is %d bytes, want %d", got, tt.wantLimit)
			}
		})
	}
}
