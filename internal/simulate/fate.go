package simulate

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
)

// What random numbers are drawn for. Each has its own, so that one knob changes nothing
// but what it is for.
const (
	drawJob uint64 = iota
	drawCallback
	drawCall
)

// draw returns the random numbers for the thing that the numbers name.
func (c Config) draw(names ...uint64) *rand.Rand {
	var text []byte
	for _, n := range append([]uint64{c.RandomSeed}, names...) {
		text = binary.BigEndian.AppendUint64(text, n)
	}
	return rand.New(rand.NewChaCha8(sha256.Sum256(text)))
}

// fate is what becomes of a job.
type fate struct {
	end      State
	deadLink int     // HTTP status of the links in callbacks; 0 if they work
	cut      float64 // where downloads break off, as a share of the size; 0 is nowhere
	drift    drift
}

// jobFate draws the same numbers whatever the shares are.
func (c Config) jobFate(number uint64) fate {
	r := c.draw(drawJob, number)
	f := fate{end: Succeeded}
	switch end := r.Float64(); {
	case end < c.Fail:
		f.end = Failed
	case end < c.Fail+c.Cancel:
		f.end = Cancelled
	}
	if dead, status := r.Float64() < c.DeadLinks, r.IntN(3); dead {
		f.deadLink = []int{http.StatusForbidden, http.StatusNotFound, http.StatusGone}[status]
	}
	if broken, cut := r.Float64() < c.BrokenMedia, 0.25+r.Float64()/2; broken {
		f.cut = cut
	}
	if ways := 1 + r.IntN(7); c.Drift {
		f.drift = drift{status: ways&1 != 0, data: ways&2 != 0, numbers: ways&4 != 0}
	}
	return f
}

// callbackFate is what becomes of one callback.
type callbackFate struct {
	lost, repeated, reordered, late bool
	// behind and again are, as shares of the job's duration, how long after its successor
	// a reordered callback is sent, and how long after the first a repeated one.
	behind, again float64
}

func (c Config) callbackFate(job uint64, index int) callbackFate {
	r := c.draw(drawCallback, job, uint64(index))
	return callbackFate{
		lost: r.Float64() < c.Lost, repeated: r.Float64() < c.Repeat,
		reordered: r.Float64() < c.Reorder, late: r.Float64() < c.Late,
		behind: r.Float64() / 8, again: r.Float64(),
	}
}

// trouble returns the code that a call is answered with instead of its own answer; 0 for
// none.
func (c Config) trouble(call uint64) code {
	r := c.draw(drawCall, call)
	if troubled, which := r.Float64() < c.Trouble, r.IntN(3); troubled {
		return codeInternal + code(which)
	}
	return 0
}
