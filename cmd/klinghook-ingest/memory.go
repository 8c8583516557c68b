package main

import "runtime/debug"

const (
	// gcPercent lets garbage grow to four times what lives, which is a few MiB: at
	// Go's 100 a busy process collects it hundreds of times a second.
	gcPercent = 400
	// memoryLimit is where it collects as often as need be, in bytes: thousands of
	// connections, or large bodies, are no garbage, and must not be multiplied.
	memoryLimit = 56 << 20
)

// boundMemory sets how the collector trades time for memory, unless GOGC or
// GOMEMLIMIT, which are Go's own, say otherwise.
func boundMemory(lookup func(name string) (string, bool)) {
	if _, set := lookup("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	if _, set := lookup("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(memoryLimit)
	}
}
