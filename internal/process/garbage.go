package process

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// mostGarbage and leastGarbage are how much garbage may lie beside what lives, in
	// per cent of that. The latter is Go's default: at it, a busy process of a few MiB
	// collects its garbage hundreds of times a second.
	mostGarbage, leastGarbage = 400, 100
	// liveBytes is what was found to live when it was last collected, and garbagePercent
	// how much garbage may lie beside it.
	liveBytes      = "/gc/heap/live:bytes"
	garbagePercent = "/gc/gogc:percent"
)

// BoundGarbage has garbage collected less often than Go does by itself, as long as what
// lives and the garbage fit into room, in bytes. Where more lives than that, it is
// collected as Go does: at a limit it would be collected all the time. Such a limit is
// ceiling, in bytes, for when more lives than is to be expected: a machine has an end
// too. lookup finds the variables of the environment: nothing is changed where
// GOGC or GOMEMLIMIT, which are Go's own, say something.
func BoundGarbage(room, ceiling uint64, lookup func(name string) (string, bool)) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if _, set := lookup(name); set {
			return
		}
	}
	debug.SetMemoryLimit(int64(ceiling)) //nolint:gosec // a constant
	boundAgain(room)
}

// garbage is what is collected with all other garbage, by which that is noticed.
type garbage struct{ room *uint64 }

// boundAgain sets how much garbage may lie around until it is next collected, and then
// again.
func boundAgain(room uint64) {
	samples := []metrics.Sample{{Name: liveBytes}, {Name: garbagePercent}}
	metrics.Read(samples)
	if percent := percentFor(room, samples[0].Value.Uint64()); percent != samples[1].Value.Uint64() {
		debug.SetGCPercent(int(percent)) //nolint:gosec // 400 at most
	}
	runtime.AddCleanup(&garbage{&room}, boundAgain, room)
}

// percentFor returns how much garbage may lie beside what lives, in per cent of that. It
// is a multiple of ten, so that it seldom changes: that stops the world for a moment.
func percentFor(room, live uint64) uint64 {
	if live == 0 || live*(1+mostGarbage/100) <= room {
		return mostGarbage
	}
	if live*(1+leastGarbage/100) >= room {
		return leastGarbage
	}
	return (room - live) * 10 / live * 10
}
