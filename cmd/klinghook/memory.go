package main

import "runtime/debug"

const (
	// gcPercent lets garbage grow to four times what lives, which is some MiB: at Go's
	// 100 a busy worker collects it dozens of times a second.
	gcPercent = 400
	// memoryLimit is where it collects as often as need be, in bytes. What the program
	// itself takes of memory, some 35 MiB, comes on top.
	memoryLimit = 40 << 20
)

// boundMemory sets how a worker's collector trades time for memory, unless GOGC or
// GOMEMLIMIT, which are Go's own, say otherwise.
func boundMemory(lookup func(name string) (string, bool)) {
	if _, set := lookup("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	if _, set := lookup("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(memoryLimit)
	}
}
