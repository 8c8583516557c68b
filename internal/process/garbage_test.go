package process

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	const mib = 1 << 20
	tests := []struct{ room, live, want uint64 }{
		{40 * mib, 0, 400}, // nothing was collected yet
		{40 * mib, 3 * mib, 400},
		{40 * mib, 8 * mib, 400},
		{40 * mib, 10 * mib, 300},
		{40 * mib, 16 * mib, 150},
		{40 * mib, 19 * mib, 110},
		{40 * mib, 20 * mib, 100},
		{40 * mib, 4000 * mib, 100},
	}
	for _, tt := range tests {
		if got := percentFor(tt.room, tt.live); got != tt.want {
			t.Errorf("with room for %d MiB of which %d MiB live: %d %%, want %d %%", tt.room/mib, tt.live/mib, got, tt.want)
		}
	}
}

// percent is how much garbage may lie around now.
func percent() uint64 {
	sample := []metrics.Sample{{Name: garbagePercent}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// TestBoundGarbage holds that what may lie around goes by what lives, up and down.
func TestBoundGarbage(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		BoundGarbage(1<<40, 1<<41, func(asked string) (string, bool) { return "", asked == name })
		if got := percent(); got != 77 {
			t.Fatalf("%s is set, and the percentage is %d, want the 77 from before", name, got)
		}
	}
	const room, ceiling = 64 << 20, 1 << 30
	BoundGarbage(room, ceiling, func(string) (string, bool) { return "", false })
	if got := debug.SetMemoryLimit(-1); got != ceiling {
		t.Errorf("the limit is %d bytes, want %d", got, ceiling)
	}
	for _, step := range []struct {
		live int
		want uint64
	}{{1 << 20, mostGarbage}, {room, leastGarbage}, {1 << 20, mostGarbage}} {
		live := make([]byte, step.live)
		for deadline := time.Now().Add(20 * time.Second); percent() != step.want; runtime.GC() {
			if time.Now().After(deadline) {
				t.Fatalf("with %d MiB that live the percentage is %d, want %d", step.live>>20, percent(), step.want)
			}
		}
		runtime.KeepAlive(live)
	}
}
